"""Live runs on the simulated server against replays of the same files, trace and moments.

    python bench/fidelity.py TRACE [ROUNDS] [SECONDS]

All settings below are run at once, ROUNDS times, and every run is printed. A round takes as long as
the traffic and two minutes more; a run needs a sixth of a core. KEEP=DIR keeps what was recorded,
and `python bench/fidelity.py TRACE DIR/0/corrected` replays that again.

Each run is replayed three times: from its own recording, from the trace that was sent, both with
the run's moments, and as somebody would who knows nothing of the run.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from stoker.clock import pause
from stoker.replay.moments import first_request, read_moments

EXAMPLE = Path(__file__).parent.parent / "examples" / "01-production-stack"
# Said before any was run: the tutorial's file as it was published, the corrected one, and the
# corrected one made as touchy as it gets.
SETTINGS: dict[str, tuple[str, ...]] = {
    "corrected": (str(EXAMPLE / "values.yaml"),),
    "published": (str(EXAMPLE / "as-published.yaml"),),
    "window-60s": (str(EXAMPLE / "values.yaml"), "--stabilization-window", "60s"),
}
SEATS, STARTUP = "16", 20.0
PROCESS = 0.2  # seconds until a process has begun to count its start-up
LATER = STARTUP + 15.0  # when the traffic begins: the first replica is ready
SYNC = 15.0
STOKER = (sys.executable, "-m", "stoker")
LATENCIES = (  # as `stoker load` and `stoker replay` call them
    ("ttft", "ttft", "mean"),
    ("ttft", "ttft", "p50"),
    ("ttft", "ttft", "p95"),
    ("inter_token_latency", "itl", "p50"),
    ("inter_token_latency", "itl", "p95"),
    ("end_to_end", "e2e", "p50"),
    ("end_to_end", "e2e", "p95"),
)


class Look(NamedTuple):
    """What was wanted and what was ready, after a poll or a sync."""

    time: float
    wanted: int
    ready: int


def main() -> None:
    """Run and print."""
    given = sys.argv[1:]
    trace, what, seconds = (*given, *("", "1", "600")[len(given) :])
    print(HEAD)
    if not what.isdigit():
        print(rows(what, Path(what), trace, seconds))
        return
    with tempfile.TemporaryDirectory() as temporary:
        for number in range(int(what)):
            top = Path(os.environ.get("KEEP", temporary)) / str(number)
            folders = {name: top / name for name in SETTINGS}
            with ThreadPoolExecutor() as pool:
                list(pool.map(lambda name: live(name, folders[name], trace, seconds), folders))  # noqa: B023
            for name, folder in folders.items():
                print(rows(name, folder, trace, seconds), flush=True)


def live(name: str, folder: Path, trace: str, seconds: str) -> None:
    """One live run, with what it printed and recorded in *folder*."""
    folder.mkdir(parents=True)
    said = folder / "up.jsonl"
    (folder / "flags.json").write_text(json.dumps(SETTINGS[name]))
    with said.open("w") as file:
        command = (*STOKER, "up", *SETTINGS[name], "--engine", "simulated", "--output", "json")
        ports = ("--gateway-port", "0", "--prometheus-port", "0")
        engine = ("--max-num-seqs", SEATS, "--startup", f"{STARTUP:g}s")
        files = ("--state-dir", str(folder / "state"), "--record", str(folder / "record.jsonl"))
        up = subprocess.Popen([*command, *ports, *engine, *files], stdout=file)
        try:
            pause(LATER)
            (url,) = [one["gateway"] for one in lines(said) if one["type"] == "started"]
            load = [*STOKER, "load", url, "--trace", trace, "--duration", seconds]
            with (folder / "load.json").open("w") as report:
                subprocess.run([*load, "--output", "json"], stdout=report, check=True)
            pause(SYNC)
        finally:
            up.terminate()
            up.wait()


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


HEAD = (
    "| run | TTFT mean | p50 | p95 | ITL p50 | p95 | E2E p50 | p95 | changes, and when | within |\n"
    f"|---|{'---:|' * 7}---|---|"
)


def rows(name: str, folder: Path, trace: str, seconds: str) -> str:
    """A run, and its replays below it."""
    start = read_moments(folder / "up.jsonl").start or 0.0
    came = first_request(folder / "record.jsonl") or 0.0
    found = json.loads((folder / "load.json").read_text())
    ran = [one for one in lines(folder / "up.jsonl") if one["type"] == "tick"]
    ours = looks(ran, start, came + float(seconds))
    lead = came - start
    numbers = [found[live_name][percentile] for live_name, _, percentile in LATENCIES]
    cells = [f"{number:.4g} s" for number in numbers]
    head = f"{name}, {found['ok']:,} of {found['requests']:,} answered"
    table = [f"| {head} | {' | '.join(cells)} | {changed(ours, lead)} | |"]
    moments = ("--moments", str(folder / "up.jsonl"))
    same = (*moments, "--lead", f"{lead:.6f}s")
    flags: dict[str, tuple[str, ...]] = {
        "its recording": ("--trace", str(folder / "record.jsonl"), *moments),
        "the trace": ("--trace", trace, "--duration", seconds, *same),
        "the trace alone": ("--trace", trace, "--duration", seconds, "--lead", f"{LATER:g}s"),
    }
    for what, more in flags.items():
        run, again = replay(folder, more)
        # without --start it begins on a Monday
        theirs = looks(again, again[0]["time"], again[0]["time"] + lead + float(seconds))
        others = [run[replay_name][percentile] for _, replay_name, percentile in LATENCIES]
        cells = [f"{b / a - 1:+.1%}" for a, b in zip(numbers, others, strict=True)]
        agree = "yes" if within(ours, theirs) and within(theirs, ours) else "no"
        when = changed(theirs, LATER if moments[0] not in more else lead)
        table.append(f"| {what} | {' | '.join(cells)} | {when} | {agree} |")
    return "\n".join(table)


def replay(folder: Path, more: tuple[str, ...]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The numbers of a replay, and its looks."""
    ticks = folder / "ticks.jsonl"
    command = [
        *(*STOKER, "replay", *json.loads((folder / "flags.json").read_text()), *more),
        *("--cold-start", "--max-num-seqs", SEATS, "--startup", f"{STARTUP + PROCESS:g}s"),
        *("--no-baselines", "--ticks", str(ticks), "--output", "json"),
    ]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)["runs"][0], lines(ticks)


def looks(ticks: list[dict[str, Any]], start: float, end: float) -> list[Look]:
    """Those of the run's traffic, in seconds since its start."""
    found = []
    for one in ticks:
        pods = one["status"]["pods"]
        ready = sum(pod["ready"] and not pod["terminating"] for pod in pods)
        if one["time"] <= end:
            found.append(Look(one["time"] - start, one["status"]["spec_replicas"], ready))
    return found


def within(ours: list[Look], theirs: list[Look]) -> bool:
    """Whether what was wanted, and what was ready, is found at most one sync away."""
    spare = SYNC + 1.0
    end = min(ours[-1].time, theirs[-1].time)
    for look in ours:
        near = [one for one in theirs if abs(one.time - look.time) <= spare]
        if look.time > end - spare:
            continue
        if look.wanted not in {one.wanted for one in near}:
            return False
        if look.ready not in {one.ready for one in near}:
            return False
    return True


def changed(ran: list[Look], lead: float) -> str:
    """``56: 3``, in seconds since the first request."""
    pairs = itertools.pairwise(ran)
    found = [f"{b.time - lead:.0f}: {b.wanted}" for a, b in pairs if a.wanted != b.wanted]
    return ", ".join(found) or "none"


if __name__ == "__main__":
    main()
