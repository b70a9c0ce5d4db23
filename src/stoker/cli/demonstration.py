"""The work of `stoker demo`: it types the commands that a user would type, and watches."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from rich.console import Console
from rich.live import Live

from stoker.api.client import Client
from stoker.api.views import ModelOverview, Overview
from stoker.checks import check
from stoker.cli.examples import example
from stoker.cli.findings import finding_text
from stoker.clock import pause, stopwatch
from stoker.errors import ConflictError, MachineError
from stoker.reports.demo import Sample, Verdict, timeline, verdict
from stoker.resources import load
from stoker.ui.live import History, render

_PUBLISHED = "01-production-stack/as-published.yaml"
_CORRECTED = "01-production-stack/values.yaml"
_TRACE = "traces/azure2023-conv-slice.csv"
_LOOK_EVERY = 1.0
_TIED = ("--until-stdin-closes",)  # if this process dies, that one stops
_STARTUP_LIMIT = 60.0  # until the control API answers


@dataclass(frozen=True, slots=True)
class Pace:
    """What is run, and how fast it goes."""

    values: str
    up: tuple[str, ...]  # flags of `stoker up`
    trace_seconds: int
    speed: int
    limit: float  # seconds until it is given up


# A batch of 16 in place of vLLM's 256 lets a queue build up at a load that a laptop can generate.
_BATCH = ("--max-num-seqs", "16")
QUICK = Pace(
    values=_CORRECTED,
    up=(
        *_BATCH,
        "--polling-interval=3s",
        "--sync-period=3s",
        "--stabilization-window=15s",
        "--scrape-interval=1s",
        "--startup=8s",
    ),
    trace_seconds=90,
    speed=2,
    limit=240.0,
)
REAL_TIME = Pace(values=_CORRECTED, up=_BATCH, trace_seconds=180, speed=1, limit=1800.0)


def run_demo(*, real_time: bool, plain: bool) -> int:
    """The whole demonstration; the exit code."""
    pace = REAL_TIME if real_time else QUICK
    console = Console(highlight=False)
    _show_published(console)
    with tempfile.TemporaryDirectory(prefix="stoker-demo-") as directory:
        return run(console, Path(directory), pace, live=console.is_terminal and not plain)


def _show_published(console: Console) -> None:
    """What is wrong with the file of the tutorial."""
    path = example(_PUBLISHED)
    console.rule("1  The tutorial's values.yaml, as published", align="left")
    console.print(f"$ stoker check {_PUBLISHED}\n")
    for finding in check(load([str(path)])):
        if finding.severity != "info":
            console.print(finding_text(finding), soft_wrap=True, markup=False)


def run(console: Console, state_dir: Path, pace: Pace, *, live: bool) -> int:
    """Steps 2 and 3: the stack, the traffic, the table and the verdict; the exit code."""
    console.rule("2  The corrected file at work", align="left")
    ports = ("--gateway-port=0", "--prometheus-port=0")  # free ones: the usual may be taken
    up = ("up", pace.values, "--engine=simulated", *pace.up, *ports)
    console.print(f"$ stoker {shlex.join(up)}", soft_wrap=True)
    started = stopwatch()
    with _stack(up, state_dir) as (client, process):
        client_url = client.overview()["gateway_url"]
        command = (
            "load", client_url, f"--trace={_TRACE}", f"--duration={pace.trace_seconds}",
            f"--speed={pace.speed}",
        )  # fmt: skip
        console.print(f"$ stoker {shlex.join(command)}", soft_wrap=True)
        console.print(
            f"  {pace.trace_seconds} s of the Azure 2023 conversation trace, "
            f"{'as recorded' if pace.speed == 1 else f'{pace.speed} times as fast'}\n"
        )
        show = _Screen(console, live=live)
        samples, report = _watch(client, process, command, pace, started, show)
    console.rule("3  What happened", align="left")
    console.print(timeline(samples))
    result = verdict(samples, report)
    _conclude(console, result)
    return 0 if result.ok else 1


def _conclude(console: Console, result: Verdict) -> None:
    console.print(str(result), soft_wrap=True, markup=False)
    for complaint in result.complaints:
        console.print(f"error: {complaint}", soft_wrap=True, markup=False)


@contextmanager
def _stack(up: Sequence[str], state_dir: Path) -> Iterator[tuple[Client, subprocess.Popen[bytes]]]:
    """`stoker up` as a process of its own, until the end of the block."""
    log = state_dir / "up.log"
    command = _resolved(up)
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "stoker", *command, *_TIED, f"--state-dir={state_dir}"],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for the demonstration, which then stops this one
        )
    try:
        yield _client(state_dir, process, log), process
    finally:
        _end(process)
        if process.stdin is not None:
            process.stdin.close()


def _client(state_dir: Path, process: subprocess.Popen[bytes], log: Path) -> Client:
    """The control API, as soon as it answers."""
    deadline = stopwatch() + _STARTUP_LIMIT
    while stopwatch() < deadline and process.poll() is None:
        try:
            client = Client.discover(state_dir)
            client.overview()
        except ConflictError:
            pause(0.2)
        else:
            return client
    said = log.read_text(errors="replace").strip()
    raise MachineError(f"`stoker up` did not start; it said:\n{said}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Stop `stoker up` as a user would: Ctrl-C, and again if that takes too long."""
    for number, patience in ((signal.SIGINT, 20.0), (signal.SIGINT, 10.0), (signal.SIGKILL, 5.0)):
        if process.poll() is not None:
            return
        process.send_signal(number)
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            continue


class _Screen:
    """The live view, or a line now and then where there is no terminal."""

    def __init__(self, console: Console, *, live: bool) -> None:
        self._console = console
        self._history = History()
        self._live = Live(console=console, refresh_per_second=4, transient=True) if live else None
        self._last_line: tuple[int, int] | None = None

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_error: object) -> None:
        if self._live:
            self._live.stop()

    def show(self, overview: Overview, sample: Sample) -> None:
        """The newest look."""
        if self._live:
            self._history.add(overview)
            self._live.update(render(overview, self._history))
            return
        state = (sample.wanted, sample.ready)
        if state != self._last_line or int(sample.time) % 10 == 0:
            self._console.print(str(sample))
        self._last_line = state


def _watch(
    client: Client,
    process: subprocess.Popen[bytes],
    command: Sequence[str],
    pace: Pace,
    started: float,
    screen: _Screen,
) -> tuple[list[Sample], dict[str, Any]]:
    """Look every second, until the traffic has gone and the replicas with it."""
    samples: list[Sample] = []
    traffic: subprocess.Popen[bytes] | None = None
    try:
        with screen:
            while stopwatch() - started < pace.limit and process.poll() is None:
                overview = client.overview()
                model = overview["models"][0]
                samples.append(_sample(model, stopwatch() - started))
                screen.show(overview, samples[-1])
                if traffic is None and model["ready"] > 0:
                    traffic = _send(command)
                if traffic is not None and traffic.poll() is not None and _is_down(model):
                    break
                pause(_LOOK_EVERY)
        if process.poll() is not None:
            raise MachineError("`stoker up` ended before the demonstration did")
        return samples, _report(traffic)
    finally:
        if traffic is not None and traffic.poll() is None:
            traffic.kill()
            traffic.communicate()


def _is_down(model: ModelOverview) -> bool:
    """Back at the minimum, and nobody is on the way out."""
    return model["ready"] == model["wanted"] == model["min_replicas"] and not model["terminating"]


def _sample(model: ModelOverview, time: float) -> Sample:
    return Sample(
        time=time,
        waiting=int(model["waiting"] or 0),
        running=int(model["running"] or 0),
        wanted=model["wanted"],
        ready=model["ready"],
        decision=model["decision"],
    )


def _send(command: Sequence[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "stoker", *_resolved(command), "--output=json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


def _report(traffic: subprocess.Popen[bytes] | None) -> dict[str, Any]:
    """What `stoker load` reported."""
    if traffic is None or traffic.poll() is None:
        raise MachineError(
            "the traffic did not end in time",
            hint="is the machine busy with something else? `stoker demo` needs about one core",
        )
    out, _ = traffic.communicate()
    report: dict[str, Any] = json.loads(out)
    return report


def _resolved(command: Sequence[str]) -> list[str]:
    """The printed command, with the examples where they are on this machine."""
    resolved = []
    for word in command:
        flag, _, name = word.rpartition("=")
        found = name in (_CORRECTED, _TRACE)
        resolved.append((f"{flag}=" if flag else "") + str(example(name)) if found else word)
    return resolved
