"""Probes in virtual time find what :class:`Health` finds on an event loop."""

import asyncio
import math

import looptime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stoker.clock import LoopClock
from stoker.replay.readiness import verdict
from stoker.resources.workload import Probe, Workload
from stoker.targets.processes.health import Health
from stoker.targets.processes.probes import ProbeResult

_probes = st.none() | st.builds(
    Probe,
    initial_delay=st.integers(0, 40).map(float),
    period=st.integers(1, 15).map(float),
    success_threshold=st.just(1),
    failure_threshold=st.integers(1, 6),
)


def on_a_loop(workload: Workload, opens: float) -> tuple[float, float]:
    """When the real one finds it ready, and when it has it killed."""
    found = {}

    async def watch() -> None:
        clock = LoopClock(epoch=0.0)

        async def ask(_probe):
            return ProbeResult(success=clock.now() >= opens - 1e-9)

        def on_ready(ready):
            if ready:
                found.setdefault("ready", clock.now())

        health = Health(workload, ask, clock, 0.0, on_ready, lambda *_: None)
        try:
            async with asyncio.timeout(1000.0):
                await health.watch()
                found["killed"] = clock.now()
        except TimeoutError:
            pass

    with asyncio.Runner(loop_factory=looptime.new_event_loop) as runner:
        runner.get_loop().set_debug(False)
        runner.run(watch())
    return found.get("ready", math.inf), found.get("killed", math.inf)


@settings(max_examples=60, deadline=None)
@given(_probes, _probes, _probes, st.integers(1, 120).map(lambda n: n + 0.5))
def test_any_probes_find_the_same(startup, readiness, liveness, opens):
    workload = Workload(
        name="x",
        namespace="default",
        model="m",
        command=(),
        startup_probe=startup,
        readiness_probe=readiness,
        liveness_probe=liveness,
    )
    ready, killed = on_a_loop(workload, opens)
    found = verdict(workload, 0.0, opens)
    if found.killed_at < math.inf:
        assert found.killed_at == pytest.approx(killed, abs=1e-3)
    else:
        assert killed == math.inf
        assert found.ready_at == pytest.approx(ready, abs=1e-3)
