"""Many replicas and the requests between them, from event to event instead of step by step.

The rules are those of :class:`stoker.simulator.engine.Engine`, which is the reference: tests hold
the two equal. What makes this one fast is that nothing changes between two events of a batch. While
no request arrives, ends or needs a block that is not there, every step decodes the same sequences,
and only their context grows, so *n* steps take ``n * first + more * n * (n - 1) / 2`` seconds. One
jump does them all.

All state is in arrays (:mod:`.state`), so that the loop compiles. :mod:`.stepping` is one engine,
:mod:`.batch` what a step does to a batch, :mod:`.prefixes` the cache of prompt blocks,
:mod:`.counting` the histograms, :mod:`.routing` the gateway's part, and :mod:`.fleet` what Python
sees of it.
"""
