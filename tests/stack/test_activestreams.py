"""external-push: what a stream says, and when it is opened again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from stoker.clock import LoopClock
from stoker.errors import StokerError
from stoker.scaling.spec import TriggerSpec
from stoker.stack.activestreams import ActiveStream, is_pushing

pytestmark = pytest.mark.looptime


class Scaler:
    """Streams as a script has them: ("say", bool), ("wait", seconds), ("break",); then it ends."""

    def __init__(self, *scripts: list[tuple]) -> None:
        self.clock = LoopClock(epoch=0.0)
        self.scripts = list(scripts)
        self.opened: list[float] = []
        self.pushed: list[float] = []

    async def stream(self) -> AsyncIterator[bool]:
        self.opened.append(round(self.clock.now(), 3))
        script = self.scripts.pop(0) if self.scripts else [("wait", 1e9)]
        for what, *arguments in script:
            if what == "say":
                yield arguments[0]
            elif what == "wait":
                await asyncio.sleep(arguments[0])
            else:
                raise StokerError("stream down")

    async def push(self) -> None:
        self.pushed.append(round(self.clock.now(), 3))

    async def listen(self, seconds: float) -> None:
        stream = ActiveStream("so", self.stream, self.push, self.clock)
        task = asyncio.create_task(stream.run())
        await asyncio.sleep(seconds)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_true_is_pushed_and_false_is_not():
    scaler = Scaler([("say", False), ("wait", 5), ("say", True), ("say", False), ("say", True)])
    await scaler.listen(6)
    assert scaler.pushed == [5, 5]


async def test_broken_stream_is_opened_again_as_keda_was_seen_to_do():
    broken = [("break",)]
    scaler = Scaler(*[broken] * 7)
    await scaler.listen(300)
    # recorded of push-err: 2.005, 6.008, 14.01, 30.012, 62.014, 122.019, 182.03
    assert scaler.opened == [0, 2, 6, 14, 30, 62, 122, 182]


async def test_stream_that_ends_is_opened_again_after_two_seconds():
    scaler = Scaler(*[[("wait", 10)]] * 3)
    await scaler.listen(37)
    assert scaler.opened == [0, 12, 24, 36]


async def test_only_an_end_counts_anew():
    opens_and_breaks = [("say", False), ("wait", 100), ("break",)]
    scaler = Scaler([("break",)], opens_and_breaks, [("wait", 1)], [("break",)])
    await scaler.listen(200)
    assert scaler.opened == [0, 2, 106, 109, 111]


async def test_one_line_is_logged_when_it_breaks_and_one_when_it_is_back(caplog):
    scaler = Scaler([("break",)], [("break",)], [("break",)], [("say", True)])
    await scaler.listen(20)
    assert [record.message for record in caplog.records] == [
        "stream of so is broken: stream down",
        "stream of so is open again",
    ]


def test_add_on_needs_no_stream():
    metadata = {"scalerAddress": "keda-otel-scaler.keda.svc:4318", "metricQuery": "x"}
    assert not is_pushing(TriggerSpec(0, "external-push", metadata))
    assert is_pushing(TriggerSpec(0, "external-push", {"scalerAddress": "127.0.0.1:1"}))
    assert not is_pushing(TriggerSpec(0, "external", {"scalerAddress": "127.0.0.1:1"}))
