"""Two hundred triggers polled at KEDA's pace: what they cost of a core, and their connections."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable

from stoker.scaling.spec import TriggerSpec
from stoker.triggers.base import TriggerContext
from stoker.triggers.connections import Pool
from stoker.triggers.polling import PolledTrigger

TRIGGERS = 200
ROUNDS = 10
PER_SECOND = TRIGGERS * (1 / 30 + 1 / 15)  # every pollingInterval, and every sync of the HPA

SERVER = """
import asyncio, json, sys
peers = set()
BODY = b'{"data":{"resultType":"vector","result":[{"metric":{},"value":[0,"7"]}]},"a":7}'
ANSWER = b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(BODY)

async def serve(reader, writer):
    peers.add(writer.get_extra_info("peername"))
    try:
        while await reader.readuntil(b"\\r\\n\\r\\n"):
            writer.write(ANSWER + BODY)
    except asyncio.IncompleteReadError:
        writer.close()

async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    print(len(peers), flush=True)

asyncio.run(main())
"""


Make = Callable[[Pool, int], PolledTrigger]


def polled(pool: Pool, type_: str, **metadata: str) -> PolledTrigger:
    context = TriggerContext(lambda _: None, pool=pool)
    return PolledTrigger(TriggerSpec(0, type_, metadata), lambda _: context)


async def cost(make: Make) -> tuple[float, float]:
    """CPU seconds a read, and seconds until the last of all answered."""
    pool = Pool()
    triggers = [make(pool, n) for n in range(TRIGGERS)]

    async def look(now: float) -> None:
        readings = await asyncio.gather(*(trigger.read(now) for trigger in triggers))
        if any(reading.value != 7 for reading in readings):
            raise RuntimeError(str(readings[0]))

    await look(0.0)
    begin, wall = time.process_time(), time.perf_counter()
    for now in range(ROUNDS):
        await look(float(now))
    cpu = (time.process_time() - begin) / (ROUNDS * TRIGGERS)
    last = (time.perf_counter() - wall) / ROUNDS
    await pool.close()
    return cpu, last


def measured(make: Callable[[int], Make]) -> tuple[float, float, int]:
    """What :func:`cost` gives, and how many connections the server saw."""
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    if server.stdin is None or server.stdout is None:
        raise RuntimeError("a process without pipes")
    cpu, last = _run(cost(make(int(server.stdout.readline()))))
    server.stdin.write("\n")
    server.stdin.flush()
    connections = int(server.stdout.readline())
    server.wait(10)
    return cpu, last, connections


def _run(work: Awaitable[tuple[float, float]]) -> tuple[float, float]:
    async def main() -> tuple[float, float]:
        return await work

    try:
        import uvloop
    except ImportError:
        return asyncio.run(main())
    return uvloop.run(main())


def markdown() -> str:
    """A row a type."""
    kinds = {
        "prometheus": lambda port: lambda pool, n: polled(
            pool, "prometheus", serverAddress=f"http://127.0.0.1:{port}", query=f"q{n}",
            threshold="5",
        ),
        "metrics-api": lambda port: lambda pool, n: polled(
            pool, "metrics-api", url=f"http://127.0.0.1:{port}/{n}", valueLocation="a",
            targetValue="5",
        ),
    }  # fmt: skip
    lines = [
        "| 200 triggers | CPU a read | of a core at KEDA's pace | last answer | connections |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, make in kinds.items():
        cpu, last, connections = measured(make)
        share = cpu * PER_SECOND * 100
        figures = f"{cpu * 1000:.2f} ms | {share:.1f} % | {last * 1000:.0f} ms | {connections}"
        lines.append(f"| {name} | {figures} |")
    return "\n".join(lines)
