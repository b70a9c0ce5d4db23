"""A model server of thirty lines: HTTP on a port, slow to start, with switches for what can fail.

``fake_engine.py PORT [--start-delay S] [--exit CODE] [--ignore-term] [--worker] [--fail-health]``
"""

# ruff: noqa: T201 - what it prints is its log

import argparse
import http.server
import signal
import subprocess
import sys
import time

parser = argparse.ArgumentParser()
parser.add_argument("port", type=int)
parser.add_argument("--start-delay", type=float, default=0.0)
parser.add_argument("--exit", type=int)
parser.add_argument("--ignore-term", action="store_true")
parser.add_argument("--worker", action="store_true")
options = parser.parse_args()

if options.exit is not None:
    print("loading weights\nRuntimeError: no kernel image is available", flush=True)
    sys.exit(options.exit)


def stop(*_):
    print("stopped", flush=True)
    sys.exit(0)


signal.signal(signal.SIGTERM, signal.SIG_IGN if options.ignore_term else stop)
if options.worker:
    worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    print(f"worker {worker.pid}", flush=True)
time.sleep(options.start_delay)  # noqa: TID251 - a program of its own


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health" else 404)
        self.send_header("Content-Length", "0")
        self.end_headers()


print(f"listening on {options.port}", flush=True)
http.server.ThreadingHTTPServer(("127.0.0.1", options.port), Handler).serve_forever()
