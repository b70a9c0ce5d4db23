"""A control process to be killed: ``control.py STATE_DIR REPLICAS ORPHAN_TIMEOUT [OPTION...]``.

Prints a line of JSON for its pods when they are all ready, and waits.
"""

# ruff: noqa: ARG002, ASYNC110, T201 - a program of its own that a test talks to

import asyncio
import json
import sys
from pathlib import Path

from stoker.clock import LoopClock
from stoker.errors import StokerError
from stoker.events import EventLog
from stoker.resources.workload import Probe, Workload
from stoker.targets.base import Launch
from stoker.targets.processes import Deployment, Node


class Engine:
    name = "fake"

    def check(self):
        pass

    def launch(self, workload, port, gpu_ids):
        script = str(Path(__file__).with_name("fake_engine.py"))
        return Launch((sys.executable, script, str(port), *sys.argv[4:]))


class Traffic:
    def in_flight(self, pod):
        return 0


async def main():
    node = Node(
        Path(sys.argv[1]),
        4,
        LoopClock(),
        EventLog(),
        Engine(),
        Traffic(),
        namespace="default",
        orphan_timeout=float(sys.argv[3]),
    )
    try:
        await node.start()
    except StokerError as error:
        print(json.dumps({"error": str(error), "hint": error.hint}), flush=True)
        return
    probe = Probe(period=0.1)
    deployment = Deployment(
        node,
        Workload(
            name="m",
            namespace="default",
            model="m",
            command=(),
            replicas=int(sys.argv[2]),
            startup_probe=Probe(period=0.1, failure_threshold=100),
            readiness_probe=probe,
            termination_grace_period=1.0,
        ),
    )
    await deployment.start()
    node.end_unclaimed()
    while not all(pod.ready for pod in deployment.pods()):
        await asyncio.sleep(0.05)
    pods = [{"name": p.name, "pid": p.pid, "restarts": p.restarts} for p in deployment.pods()]
    print(json.dumps({"pods": pods, "watchdog": node.watchdog_pid}), flush=True)
    if not await asyncio.to_thread(sys.stdin.readline):
        return  # not reached: the test kills us
    await node.stop()


asyncio.run(main())
