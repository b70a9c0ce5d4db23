"""OpenAI traffic on purpose: open and closed loop, from a rate or from a recorded trace.

:mod:`.arrivals` and :mod:`.trace` say when requests come and how long they are, :mod:`.runner`
sends them, :mod:`.http` is the client underneath, :mod:`.answer` times what comes back, and
:mod:`.report` turns that into numbers.
"""
