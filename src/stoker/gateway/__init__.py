"""Requests: one OpenAI endpoint for all models, that holds, queues, routes and retries.

:mod:`.server` is the seam to the rest: :class:`~.server.Gateway`. :mod:`.dispatch` decides which
replica gets a request and which requests wait; :mod:`.forward` carries one request there and its
answer back, byte by byte; :mod:`.stats` counts; :mod:`.openai` knows the shapes of the API.
"""
