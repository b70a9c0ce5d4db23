"""CPU time of the gateway for a request and for an event of a stream, beside its peers.

HAProxy, HAProxy that routes by the model in the body as we do, nginx, and vllm-router if it is on
PATH or VLLM_ROUTER says where it is (`pip install vllm-router`, best into a place of its own).

HAProxy is told `option http-no-delay`: without it a stream in chunks is sent with MSG_MORE, and the
kernel keeps each event for up to 200 ms, until there are more. That is cheap, and no way to serve a
stream of tokens. A row shows it; "events a piece" is how many a client gets at a time.

Upstream and client are small C programs (bench/native), so that they are not what is measured. The
proxies run one after another on core 0, upstream and client on core 1, in rounds; what counts is
utime+stime of a proxy's processes divided by what they carried.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from statistics import median

import psutil

from stoker.gateway.listen import raise_file_limit

ROUNDS = int(os.environ.get("ROUNDS", "5"))
SECONDS = 2
CONNECTIONS = int(os.environ.get("CONNECTIONS", "10000"))  # that wait, and that are idle
NATIVE = Path(__file__).parent / "native"
HAPROXY = """
global
  nbthread 1
  maxconn 4096
defaults
  mode http
{delay}
  timeout connect 5s
  timeout client 600s
  timeout server 600s
frontend f
  bind 127.0.0.1:{port}
{route}
backend b
  balance leastconn
  http-reuse always
  server a 127.0.0.1:{first}
  server b 127.0.0.1:{second}
"""
NO_DELAY = "  option http-no-delay"
PLAIN = "  default_backend b"
BY_BODY = """  option http-buffer-request
  http-request set-var(txn.model) req.body,json_query('$.model')
  use_backend b if {{ var(txn.model) -m str m1 }}"""
NGINX = """
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 20000; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u;
  scgi_temp_path {folder}/s;
  keepalive_requests 100000000;
  upstream b {{
    least_conn;
    server 127.0.0.1:{first};
    server 127.0.0.1:{second};
    keepalive 256;
    keepalive_requests 100000000;
  }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://b;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
    }}
  }}
}}
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Proxy:
    """A proxy that runs on core 0."""

    def __init__(self, name: str, command: list[str], port: int, workers: int = 1) -> None:
        self.name = name
        self.workers = workers
        self.port = port
        self.process = subprocess.Popen(
            ["taskset", "-c", "0", *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.requests: list[float] = []
        self.varied: list[float] = []
        self.joined: list[float] = []  # events a piece
        self.events: list[float] = []
        self.alone: list[float] = []
        self.failed = 0
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.1)
        sys.exit(f"error: {name} does not listen on {port}")

    def tree(self) -> list[psutil.Process]:
        """Its processes; workers are children."""
        one = psutil.Process(self.process.pid)
        return [one, *one.children(recursive=True)]

    def cpu(self) -> float:
        """Microseconds of all its processes."""
        total = 0
        for process in self.tree():
            for thread in Path(f"/proc/{process.pid}/task").iterdir():
                total += int((thread / "schedstat").read_text().split()[0])
        return total / 1000

    def memory(self) -> int:
        """Bytes, shared ones counted in part (PSS)."""
        return sum(process.memory_full_info().pss for process in self.tree())

    def stop(self) -> None:
        """End it."""
        for process in self.tree():
            process.terminate()
        self.process.wait(20)


def client(folder: Path, port: int, connections: int, kind: str, pace: int = 0) -> dict:
    command = ["taskset", "-c", "1", str(folder / "client"), str(port), str(connections)]
    output = subprocess.run(
        [*command, str(SECONDS), kind, str(pace)], capture_output=True, text=True, check=True
    ).stdout
    return json.loads(output)


def measure(proxy: Proxy, folder: Path) -> None:
    before = proxy.cpu()
    # So many a worker: what one does at a time is cheaper the more of it there is.
    done = client(folder, proxy.port, 64 * proxy.workers, "json")
    proxy.requests.append((proxy.cpu() - before) / done["requests"])
    before = proxy.cpu()
    varied = client(folder, proxy.port, 64 * proxy.workers, "varied")
    proxy.varied.append((proxy.cpu() - before) / varied["requests"])
    before = proxy.cpu()
    streamed = client(folder, proxy.port, 192 * proxy.workers, "stream", 20)
    proxy.events.append((proxy.cpu() - before) / streamed["events"])
    proxy.joined.append(streamed["events"] / streamed["pieces"])
    alone = client(folder, proxy.port, 1, "json")
    proxy.alone.append(alone["p50_us"])
    for one in (done, varied, streamed, alone):
        proxy.failed += one["errors"] + one["not_200"]


def proxies(folder: Path, first: int, second: int) -> list[Proxy]:
    started = []
    if shutil.which("haproxy"):
        for name, route, delay in (
            ("HAProxy", PLAIN, NO_DELAY),
            ("HAProxy + body route", BY_BODY.format(), NO_DELAY),
            ("HAProxy that delays events", PLAIN, ""),
        ):
            port = free_port()
            file = folder / f"haproxy-{port}.cfg"
            text = HAPROXY.format(port=port, first=first, second=second, route=route, delay=delay)
            file.write_text(text)
            started.append(Proxy(name, ["haproxy", "-f", str(file)], port))
    if shutil.which("nginx"):
        port = free_port()
        (folder / "nginx.conf").write_text(
            NGINX.format(port=port, first=first, second=second, folder=folder)
        )
        started.append(Proxy("nginx", ["nginx", "-c", str(folder / "nginx.conf")], port))
    if router := os.environ.get("VLLM_ROUTER") or shutil.which("vllm-router"):
        started.append(vllm_router(router, [first, second]))
    started.append(stoker(folder, [first, second], compiled=False))
    started.append(stoker(folder, [first, second]))
    started.append(stoker(folder, [first, second], workers=2))
    return started


def vllm_router(program: str, upstreams: list[int]) -> Proxy:
    """Of two upstreams `power_of_two` takes the one with less to do."""
    port = free_port()
    command = [
        program, "--host", "127.0.0.1", "--port", str(port), "--prometheus-port", str(free_port()),
        "--worker-urls", *(f"http://127.0.0.1:{upstream}" for upstream in upstreams),
        "--policy", "power_of_two", "--log-level", "error", "--request-timeout-secs", "600",
    ]  # fmt: skip
    return Proxy("vllm-router", command, port)


def stoker(
    folder: Path,
    upstreams: list[int],
    *,
    workers: int = 1,
    limit: int = 4096,
    compiled: bool = True,
) -> Proxy:
    """With all that it has: limits, affinity, access log. All of its processes on one core."""
    port = free_port()
    file = folder / f"endpoints-{port}.yaml"
    urls = [f"http://127.0.0.1:{port}" for port in upstreams]
    model = {"name": "m1", "endpoints": urls, "limit": limit}
    model["queue"] = {"requests": 20000, "bytes": "1Gi"}
    file.write_text(json.dumps({"models": [model]}))
    command = [
        "env", f"STOKER_COMPILED={int(compiled)}",
        sys.executable, "-m", "stoker", "gateway", f"--endpoints={file}", f"--port={port}",
        f"--access-log={folder / 'access.jsonl'}", "--affinity=prefix", f"--workers={workers}",
        f"--state-dir={folder / f'state-{port}'}",
    ]  # fmt: skip
    name = "stoker" if workers == 1 else f"stoker, {workers} workers"
    name += "" if compiled else ", not compiled"
    return Proxy(name, command, port, workers)


def held(folder: Path) -> str:
    """A row: requests of 4 KB that wait."""
    proxy = stoker(folder, [])
    body = json.dumps({"model": "m1", "messages": [], "text": "x" * 4000}).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
    row = "requests of 4 KB that wait", head % len(body) + body, "stoker_gateway_held"
    return _memory_of(proxy, CONNECTIONS, *row)


def idle_streams(folder: Path, upstreams: list[int]) -> str:
    """A row: streams in which nothing comes after the first event.

    A stream has two connections, and a process as many as its user may have open files.
    """
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1] // 2 - 100
    proxy = stoker(folder, upstreams, limit=2 * CONNECTIONS)
    body = b'{"model":"m1","stream":true,"messages":[]}'
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nX-Pace: 900000\r\n"
    request = head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    row = "idle streams", request, "stoker_gateway_in_flight"
    return _memory_of(proxy, min(CONNECTIONS, most), *row)


def _memory_of(proxy: Proxy, number: int, what: str, request: bytes, gauge: str) -> str:
    before = proxy.memory()
    clients = []
    for _ in range(number):
        client = socket.create_connection(("127.0.0.1", proxy.port))
        client.sendall(request)
        clients.append(client)
    deadline = time.monotonic() + 60
    while (there := _sum_of(proxy.port, gauge)) < number:
        if time.monotonic() > deadline:
            sys.exit(f"error: {gauge} is {there} and not {number}")
        time.sleep(0.5)
    time.sleep(1.0)
    after = proxy.memory()
    for client in clients:
        client.close()
    proxy.stop()
    one = (after - before) / 1024 / number
    return f"| {number:,} {what} | {before / 1e6:.0f} | {after / 1e6:.0f} | {one:.1f} |"


def _sum_of(port: int, gauge: str) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as page:
        lines = page.read().decode().splitlines()
    return sum(int(line.rpartition(" ")[2]) for line in lines if line.startswith(gauge + "{"))


def markdown() -> str:
    if not shutil.which("gcc") or not shutil.which("taskset"):
        return "Needs gcc and taskset."
    raise_file_limit()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for program in ("upstream", "client"):
            source = NATIVE / f"{program}.c"
            subprocess.run(["gcc", "-O2", "-o", folder / program, source], check=True)
        ports = [free_port(), free_port()]
        upstream = subprocess.Popen(
            ["taskset", "-c", "1", str(folder / "upstream"), *map(str, ports)]
        )
        time.sleep(0.3)
        try:
            return _tables(folder, ports)
        finally:
            upstream.terminate()
            upstream.wait()


def _tables(folder: Path, ports: list[int]) -> str:
    running = proxies(folder, *ports)
    for proxy in running:
        client(folder, proxy.port, 8, "json")  # warm
    for _ in range(ROUNDS):
        for proxy in running:
            measure(proxy, folder)
    direct = median(client(folder, ports[0], 1, "json")["p50_us"] for _ in range(3))
    base = running[0]
    lines = [
        (
            "| proxy | us a request | to HAProxy | other heads, to HAProxy "
            "| us an event | to HAProxy | events a piece | added p50, us | failed |"
        ),
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for proxy in running:
        by_request = [a / b for a, b in zip(proxy.requests, base.requests, strict=True)]
        by_varied = [a / b for a, b in zip(proxy.varied, base.varied, strict=True)]
        by_event = [a / b for a, b in zip(proxy.events, base.events, strict=True)]
        lines.append(
            f"| {proxy.name} | {median(proxy.requests):.1f} | {_spread(by_request)} "
            f"| {_spread(by_varied)} | {median(proxy.events):.1f} | {_spread(by_event)} "
            f"| {median(proxy.joined):.1f} | {median(proxy.alone) - direct:.0f} | {proxy.failed} |"
        )
    for proxy in running:
        proxy.stop()
    lines += ["", _two_workers(running[-2], running[-1]), ""]
    lines += ["| | MB before | MB with them | KB for one |", "|---|---|---|---|"]
    lines += [held(folder), idle_streams(folder, ports)]
    return "\n".join(lines)


def _two_workers(one: Proxy, two: Proxy) -> str:
    """What two cores carry: twice what one does, less what the accounting of both costs."""
    requests = [2 * a / b for a, b in zip(one.requests, two.requests, strict=True)]
    events = [2 * a / b for a, b in zip(one.events, two.events, strict=True)]
    return (
        f"Two workers on two cores, by CPU time: {_spread(requests)} of one in requests, "
        f"{_spread(events)} in events."
    )


def _spread(ratios: list[float]) -> str:
    return f"{median(ratios):.2f}x ({min(ratios):.2f}..{max(ratios):.2f})"


if __name__ == "__main__":
    print(markdown())
