"""A process that answers like ``vllm serve``, at the speed of an engine profile, without a GPU.

``options`` reads vLLM's command line, ``api`` reads requests and ``answers`` writes them,
``batching`` runs the engine model on the event loop and hands tokens to ``sinks``, ``routes`` is
the HTTP server, ``lifecycle`` starts slowly and stops gracefully.

Simplifications, all on purpose: an answer has exactly ``max_tokens`` tokens when the request says
so and a length drawn from the prompt when it does not; ``stop``, ``logprobs``, tools and sampling
parameters are accepted and change nothing; ``n`` is 1; a token is a word.
"""
