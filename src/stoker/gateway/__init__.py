"""Requests: one OpenAI endpoint for all models, that holds, queues, routes and retries.

:mod:`.server` is the seam to the rest: :class:`~.server.Gateway`. :mod:`.policy` decides which
replica gets a request and which requests wait; :mod:`.plane` does it, with an :mod:`.inbound`
connection for each client and an :mod:`.outbound` one for each request that a replica has;
:mod:`.stats` counts; :mod:`.openai` knows the shapes of the API.

The modules of the data plane can be compiled (``make compiled``). It is the same code: what they do
is the same either way, and CI runs their tests both ways.
"""

from stoker.gateway._compiled import find_compiled

COMPILED = find_compiled()
