"""PromQL and metrics: queries of the documents, a day as a range, parsing, memory, appending.

    python bench/promql.py [--rounds 5] [--sizes 100,1000,10000]

In-process times and throughputs are CPU time of this process, medians of rounds in which the
measurements take turns. Over HTTP it is wall time of one client; ours and a real Prometheus (when
it is installed) hold the same samples and are asked in turn. bench/run.py calls :func:`markdown`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import http.client
import os
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlencode

import uvloop
from aiohttp import web
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as families

from stoker.api.prometheus import make_app
from stoker.clock import FixedClock
from stoker.metrics import exposition
from stoker.metrics.exposition import PageParser
from stoker.metrics.sample import Labels
from stoker.metrics.storage import Storage
from stoker.promql.engine import instant

QUERIES = {
    "`sum(vllm:num_requests_waiting)`": "sum(vllm:num_requests_waiting)",
    "`sum(rate(tokens_total[2m]))`": "sum(rate(vllm:generation_tokens_total"
    '{namespace="default",model_name="opt-125m"}[2m]))',
    "`sum(rate(requests_total[1m]) > bool 0)`": "sum(rate(vllm:num_incoming_requests_total[1m])"
    " > bool 0)",
    "`histogram_quantile(0.95, sum by (le) (rate(ttft_bucket[2m])))`": "histogram_quantile(0.95, "
    "sum by (le) (rate(vllm:time_to_first_token_seconds_bucket[2m])))",
}
BOUNDS = "0.001 0.005 0.01 0.02 0.04 0.06 0.08 0.1 0.25 0.5 0.75 1 2.5 5 7.5 10 20 40 80 +Inf"
EPOCH, WINDOW, STEP = 1_700_000_000, 600, 5
DAY, DAY_SERIES = 86_400, 50
DAY_QUERY = "sum(rate(day_total[2m]))"
REPEATS = 100


def series_of(size: int) -> list[tuple[Labels, int]]:
    """*size* series of each of the four metrics, with how much they grow a scrape."""
    found: list[tuple[Labels, int]] = []
    for i in range(size):
        base = {"namespace": "default", "pod": f"pod-{i}", "model_name": "opt-125m"}
        found.append((Labels({**base, "__name__": "vllm:num_requests_waiting"}), 0))
        found += [
            (Labels({**base, "__name__": f"vllm:{name}_total"}), 3 + i % 50)
            for name in ("generation_tokens", "num_incoming_requests")
        ]
    name = "vllm:time_to_first_token_seconds_bucket"
    for i in range(size // 20):
        for j, le in enumerate(BOUNDS.split()):
            labels = {"namespace": "default", "pod": f"pod-{i}", "le": le, "__name__": name}
            found.append((Labels(labels), 1 + j))
    return found


def scrapes(size: int, *, day: bool = False) -> Iterator[tuple[int, list[tuple[Labels, float]]]]:
    """Moments in ms, and the samples of each."""
    if day:
        days = [Labels({"__name__": "day_total", "pod": f"p{i}"}) for i in range(DAY_SERIES)]
        for t in range(0, DAY, 15):
            yield (
                (EPOCH - DAY + t) * 1000,
                [(one, float(t * (i + 1))) for i, one in enumerate(days)],
            )
    series = series_of(size)
    for t in range(0, WINDOW, STEP):
        yield (EPOCH + t) * 1000, [(labels, float(t // STEP * by)) for labels, by in series]


def filled(size: int, *, day: bool = False) -> Storage:
    storage = Storage(retention=1e9, max_bytes=2**33)
    for t_ms, samples in scrapes(size, day=day):
        storage.append_batch(samples, t_ms / 1000)
    return storage


# -- in process ----------------------------------------------------------------------------------


def cpu_us(work: Callable[[], object], repeats: int = REPEATS) -> float:
    gc.collect()
    began = time.process_time()
    for _ in range(repeats):
        work()
    return (time.process_time() - began) / repeats * 1e6


def in_process(sizes: list[int], rounds: int) -> dict[tuple[str, int], float]:
    storages = {size: filled(size) for size in sizes}
    found: dict[tuple[str, int], list[float]] = {}
    for _ in range(rounds):
        for size, storage in storages.items():
            for name, query in QUERIES.items():
                took = cpu_us(lambda q=query, s=storage: instant(q, s, EPOCH + WINDOW - 2))
                found.setdefault((name, size), []).append(took)
    return {key: statistics.median(times) for key, times in found.items()}


# -- over HTTP -----------------------------------------------------------------------------------


async def serve(size: int) -> None:
    """Ours, in a process of its own. Prints its port."""
    app = make_app(filled(size, day=True), FixedClock(EPOCH + WINDOW))
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


@contextlib.contextmanager
def ours(size: int) -> Iterator[int]:
    command = [sys.executable, __file__, "--serve", str(size)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield int(process.stdout.readline())
        finally:
            process.terminate()


@contextlib.contextmanager
def prometheus(size: int) -> Iterator[int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as home, (Path(home) / "log").open("wb") as log:
        (Path(home) / "prometheus.yml").write_text("global: {}\n")
        command = [
            "prometheus",
            f"--config.file={home}/prometheus.yml",
            f"--storage.tsdb.path={home}/data",
            "--storage.tsdb.retention.time=100y",
            "--web.enable-remote-write-receiver",
            f"--web.listen-address=127.0.0.1:{port}",
        ]
        with subprocess.Popen(command, stdout=log, stderr=log, cwd=home) as process:
            try:
                for _ in range(100):
                    with contextlib.suppress(OSError):
                        socket.create_connection(("127.0.0.1", port), 1).close()
                        break
                    time.sleep(0.1)
                feed(port, size)
                yield port
            finally:
                process.terminate()
                process.wait(20)


def feed(port: int, size: int) -> None:
    """The same samples by remote write, in the order of time."""
    from cramjam import snappy

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"}
    known: dict[Labels, bytes] = {}
    batch: dict[Labels, bytes] = {}
    waiting = 0

    def flush() -> None:
        body = b"".join(
            _field(1, known.setdefault(one, _labels(one)) + data) for one, data in batch.items()
        )
        connection.request("POST", "/api/v1/write", bytes(snappy.compress_raw(body)), headers)
        answer = connection.getresponse()
        answer.read()
        if answer.status != 204:
            raise SystemExit(f"prometheus refused samples: HTTP {answer.status}")
        batch.clear()

    for t_ms, samples in scrapes(size, day=True):
        stamp = _varint(t_ms)
        for labels, value in samples:
            one = _field(2, b"\x09" + struct.pack("<d", value) + b"\x10" + stamp)
            batch[labels] = batch.get(labels, b"") + one
        waiting += len(samples)
        if waiting > 50_000:
            flush()
            waiting = 0
    flush()


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _field(number: int, body: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(body)) + body


def _labels(labels: Labels) -> bytes:
    return b"".join(_field(1, _field(1, n.encode()) + _field(2, v.encode())) for n, v in labels)


def asked(connection: http.client.HTTPConnection, path: str, params: dict[str, object]) -> float:
    """Milliseconds for one answer."""
    target = f"/api/v1/{path}?{urlencode(params)}"
    began = time.perf_counter()
    connection.request("GET", target)
    answer = connection.getresponse()
    body = answer.read()
    took = (time.perf_counter() - began) * 1000
    if answer.status != 200 or b'"result":[]' in body:
        raise SystemExit(f"no answer to {params}: {body[:200]!r}")
    return took


def over_http(size: int, rounds: int) -> dict[tuple[str, str], float]:
    """(query, server) -> milliseconds; the day is in there with its own query."""
    found: dict[tuple[str, str], list[float]] = {}
    with contextlib.ExitStack() as stack:
        ports = {"stoker": stack.enter_context(ours(size))}
        if shutil.which("prometheus"):
            ports["prometheus"] = stack.enter_context(prometheus(size))
        clients = {
            name: http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            for name, port in ports.items()
        }
        for _ in range(rounds):
            for name, query in QUERIES.items():
                for i in range(20):
                    for server, client in clients.items():
                        params = {"query": query, "time": EPOCH + WINDOW - 3 + i % 3}
                        took = asked(client, "query", params)
                        found.setdefault((name, server), []).append(took)
            day = {"query": DAY_QUERY, "start": EPOCH - DAY + 120, "end": EPOCH - 15, "step": 15}
            for server, client in clients.items():
                took = asked(client, "query_range", day)
                found.setdefault(("day", server), []).append(took)
    return {key: statistics.median(times) for key, times in found.items()}


# -- throughput ----------------------------------------------------------------------------------


def parsing(page: str, rounds: int) -> dict[str, float]:
    """MB/s. Ours the first time a page is seen, on another replica, and again in later scrapes."""
    found: dict[str, list[float]] = {}
    parser = PageParser()
    list(parser.lines(page))

    def first() -> object:
        exposition._shared.clear()
        return list(PageParser().lines(page))

    ways: dict[str, Callable[[], object]] = {
        "stoker, a page like the one before": lambda: list(parser.lines(page)),
        "stoker, the first page of a further replica": lambda: list(PageParser().lines(page)),
        "stoker, a page like none before": first,
        "prometheus-client, text": lambda: list(families(page)),
        "prometheus-client, OpenMetrics": lambda: list(openmetrics(page + "# EOF\n")),
    }
    for _ in range(rounds):
        for name, way in ways.items():
            try:
                took = cpu_us(way, 10)
            except ValueError:  # the strict parser refuses a page that is no OpenMetrics
                continue
            found.setdefault(name, []).append(len(page) / took)
    return {name: statistics.median(rates) for name, rates in found.items()}


def appending(rounds: int) -> tuple[float, float]:
    """Samples a second, and bytes a sample, for 1,000 series over an hour at 5 s."""
    labels = [Labels({"__name__": "x", "pod": str(i)}) for i in range(1000)]
    rates = []
    for _ in range(rounds):
        storage = Storage(retention=1e9, max_bytes=2**33)
        began = time.process_time()
        for t in range(0, 1000, 5):
            storage.append_batch([(one, float(t)) for one in labels], EPOCH + t)
        rates.append(storage.sample_count() / (time.process_time() - began))
    tracemalloc.start()
    storage = Storage(retention=1e9, max_bytes=2**33)
    for t in range(0, 3600, 5):
        storage.append_batch([(one, float(t)) for one in labels], EPOCH + t)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return statistics.median(rates), taken / storage.sample_count()


def page_text() -> str | None:
    root = Path(os.environ.get("STOKER_SHARED", Path(__file__).parents[2] / "shared"))
    page = root / "data" / "vllm" / "metrics_load.txt"
    return page.read_text(encoding="utf-8") if page.exists() else None


def markdown(rounds: int = 3, sizes: list[int] | None = None) -> str:
    """The tables."""
    sizes = sizes or [100, 1000, 10_000]
    lines = ["Instant queries, microseconds of CPU in-process:", ""]
    lines += ["| query | " + " | ".join(f"{size:,} series" for size in sizes) + " |"]
    lines += ["|---|" + "---:|" * len(sizes)]
    table = in_process(sizes, rounds)
    lines += [
        f"| {name} | " + " | ".join(f"{table[name, size]:.0f}" for size in sizes) + " |"
        for name in QUERIES
    ]
    for size in sizes:
        times = over_http(size, rounds)
        servers = sorted({server for _, server in times}, reverse=True)
        lines += ["", f"Over HTTP, {size:,} series, milliseconds:", ""]
        lines += [f"| query | {' | '.join(servers)} |", "|---|" + "---:|" * len(servers)]
        rows = {**dict.fromkeys(QUERIES), "day": None}
        for name in rows:
            told = f"`{DAY_QUERY}`, a day at 15 s, {DAY_SERIES} series" if name == "day" else name
            cells = " | ".join(f"{times[name, server]:.2f}" for server in servers)
            lines.append(f"| {told} | {cells} |")
    page = page_text()
    lines += ["", "| throughput | |", "|---|---:|"]
    if page is not None:
        for name, rate in parsing(page, rounds).items():
            lines.append(f"| parse, {name} | {rate:.1f} MB/s |")
    rate, size_of = appending(rounds)
    lines += [f"| append | {rate:,.0f} samples/s |", f"| memory | {size_of:.1f} bytes a sample |"]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sizes", default="100,1000,10000")
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve is not None:
        with contextlib.suppress(KeyboardInterrupt):
            uvloop.run(serve(arguments.serve))
        return
    print(markdown(arguments.rounds, [int(size) for size in arguments.sizes.split(",")]))


if __name__ == "__main__":
    main()
