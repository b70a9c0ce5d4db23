"""``python -m stoker.engines.simulated_server serve MODEL [vLLM options]``."""

import sys

from stoker.clock import wall_time


def _run() -> int:
    began = wall_time()
    # After the clock was read: importing the HTTP server is part of the cold start.
    from stoker.engines.simulated_server.lifecycle import main  # noqa: PLC0415

    return main(sys.argv[1:], began)


sys.exit(_run())
