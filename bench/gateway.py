"""CPU time of the gateway for a request and for an event of a stream, beside HAProxy and nginx.

Upstream and client are small C programs (bench/native), so that they are not what is measured. The
proxies run one after another on core 0, upstream and client on core 1, in rounds; what counts is
utime+stime of a proxy's processes divided by what they carried.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import psutil

ROUNDS = int(os.environ.get("ROUNDS", "5"))
SECONDS = 2
NATIVE = Path(__file__).parent / "native"
HAPROXY = """
global
  nbthread 1
  maxconn 4096
defaults
  mode http
  timeout connect 5s
  timeout client 600s
  timeout server 600s
frontend f
  bind 127.0.0.1:{port}
  default_backend b
backend b
  balance leastconn
  http-reuse always
  server a 127.0.0.1:{first}
  server b 127.0.0.1:{second}
"""
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

    def __init__(self, name: str, command: list[str], port: int) -> None:
        self.name = name
        self.port = port
        self.process = subprocess.Popen(
            ["taskset", "-c", "0", *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.requests: list[float] = []
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
    done = client(folder, proxy.port, 64, "json")
    proxy.requests.append((proxy.cpu() - before) / done["requests"])
    before = proxy.cpu()
    streamed = client(folder, proxy.port, 192, "stream", 20)
    proxy.events.append((proxy.cpu() - before) / streamed["events"])
    alone = client(folder, proxy.port, 1, "json")
    proxy.alone.append(alone["p50_us"])
    for one in (done, streamed, alone):
        proxy.failed += one["errors"] + one["not_200"]


def proxies(folder: Path, first: int, second: int) -> list[Proxy]:
    started = []
    port = free_port()
    if shutil.which("haproxy"):
        (folder / "haproxy.cfg").write_text(HAPROXY.format(port=port, first=first, second=second))
        started.append(Proxy("HAProxy", ["haproxy", "-f", str(folder / "haproxy.cfg")], port))
    port = free_port()
    if shutil.which("nginx"):
        (folder / "nginx.conf").write_text(
            NGINX.format(port=port, first=first, second=second, folder=folder)
        )
        started.append(Proxy("nginx", ["nginx", "-c", str(folder / "nginx.conf")], port))
    started.append(stoker(folder, [first, second]))
    return started


def stoker(folder: Path, upstreams: list[int]) -> Proxy:
    """With all that it has: limits, affinity, access log."""
    file = folder / f"endpoints-{len(upstreams)}.yaml"
    urls = [f"http://127.0.0.1:{port}" for port in upstreams]
    model = {"name": "m1", "endpoints": urls, "limit": 4096}
    if not upstreams:
        model["queue"] = {"requests": 10000, "bytes": "1Gi"}
    file.write_text(json.dumps({"models": [model]}))
    port = free_port()
    command = [
        sys.executable, "-m", "stoker", "gateway", f"--endpoints={file}", f"--port={port}",
        f"--access-log={folder / 'access.jsonl'}", "--affinity=prefix",
        f"--state-dir={folder / f'state-{port}'}",
    ]  # fmt: skip
    return Proxy("stoker", command, port)


def held(folder: Path, number: int = 2000) -> float:
    """KB for a request of 4 KB that waits."""
    proxy = stoker(folder, [])
    body = json.dumps({"model": "m1", "messages": [], "text": "x" * 4000}).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
    return _memory_of(proxy, number, head % len(body) + body)


def idle_streams(folder: Path, upstream: int, number: int = 2000) -> float:
    """KB for a stream in which nothing comes."""
    proxy = stoker(folder, [upstream])
    body = b'{"model":"m1","stream":true,"messages":[]}'
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nX-Pace: 900000\r\n"
    return _memory_of(proxy, number, head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body))


def _memory_of(proxy: Proxy, number: int, request: bytes) -> float:
    before = proxy.memory()
    clients = []
    for _ in range(number):
        client = socket.create_connection(("127.0.0.1", proxy.port))
        client.sendall(request)
        clients.append(client)
    time.sleep(3)
    used = proxy.memory() - before
    for client in clients:
        client.close()
    proxy.stop()
    return used / number / 1024


def markdown() -> str:
    if not shutil.which("gcc") or not shutil.which("taskset"):
        return "Needs gcc and taskset."
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
        "| proxy | us a request | to HAProxy | us an event | to HAProxy | added p50, us | failed |",
        "|---|---|---|---|---|---|---|",
    ]
    for proxy in running:
        by_request = [a / b for a, b in zip(proxy.requests, base.requests, strict=True)]
        by_event = [a / b for a, b in zip(proxy.events, base.events, strict=True)]
        lines.append(
            f"| {proxy.name} | {median(proxy.requests):.1f} | {_spread(by_request)} "
            f"| {median(proxy.events):.1f} | {_spread(by_event)} "
            f"| {median(proxy.alone) - direct:.0f} | {proxy.failed} |"
        )
    for proxy in running:
        proxy.stop()
    waiting, idle = held(folder), idle_streams(folder, ports[0])
    memory = f"A request of 4 KB that waits: {waiting:.1f} KB. An idle stream: {idle:.1f} KB."
    return "\n".join((*lines, "", memory))


def _spread(ratios: list[float]) -> str:
    return f"{median(ratios):.2f}x ({min(ratios):.2f}..{max(ratios):.2f})"


if __name__ == "__main__":
    print(markdown())
