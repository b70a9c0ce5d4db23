"""Step 5, the decision: what KEDA and the HPA would do, as pure functions of what they are told.

Nothing here reads a clock, a socket or a file, and nothing here is third party. :mod:`.spec` is
what the user wants, :mod:`.observation` what is, :mod:`.state` what was, :mod:`.decide` what
follows.
"""
