"""A live run on the simulated server against a replay of the same file and trace.

    python bench/fidelity.py TRACE [SECONDS]

Takes as long as the traffic and two minutes more. Prints decisions and latencies side by side.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

from stoker.clock import pause, wall_time

FILE = str(Path(__file__).parent.parent / "examples" / "01-production-stack" / "values.yaml")
SEATS, STARTUP, WINDOW = 16, 20.0, 180.0
GATEWAY = 18_321
COUNTER = "vllm:num_incoming_requests_total"


def main() -> None:
    """Run both and print."""
    trace, seconds = sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else 600.0
    with tempfile.TemporaryDirectory() as folder:
        created, began, looks, live = live_run(trace, seconds, Path(folder))
    replayed = replay(trace, seconds, began - created)
    offset = began - created
    print(f"{'':<12} {'live':>10} {'replay':>10}")
    for name, ours in (("ttft", "ttft"), ("inter_token_latency", "itl"), ("end_to_end", "e2e")):
        for percentile in ("p50", "p95", "mean"):
            a, b = live[name][percentile], replayed[ours][percentile]
            print(f"{ours} {percentile:<7} {a:>10.4f} {b:>10.4f} {b / a - 1:+8.1%}")
    print("decisions, seconds after the first request:")
    print("  live   " + ", ".join(f"{at - began:.0f}: {to}" for at, to in looks))
    decided = [(one["time"] - offset, one["to"]) for one in replayed["decisions"]]
    print("  replay " + ", ".join(f"{at:.0f}: {to}" for at, to in decided))


def live_run(trace: str, seconds: float, folder: Path):  # noqa: ANN201
    """When KEDA first looked, when the first request came, decisions, and the load's report."""
    stoker = [sys.executable, "-m", "stoker"]
    output = folder / "up.jsonl"
    with output.open("w") as file:
        up = subprocess.Popen(
            [
                *(*stoker, "up", FILE, "--engine", "simulated", "-o", "json"),
                *("--max-num-seqs", str(SEATS), "--startup", f"{STARTUP:g}s"),
                *("--stabilization-window", f"{WINDOW:g}s", "--gateway-port", str(GATEWAY)),
                *("--prometheus-port", "0", "--state-dir", str(folder / "state")),
            ],
            stdout=file,
        )
        try:
            pause(STARTUP + 15.0)
            load = subprocess.Popen(
                [
                    *(*stoker, "load", f"http://127.0.0.1:{GATEWAY}", "--trace", trace),
                    *("--duration", f"{seconds:g}", "--output", "json"),
                ],
                stdout=subprocess.PIPE,
                text=True,
            )
            began = first_request()
            report, _ = load.communicate()
            pause(5.0)
        finally:
            up.terminate()
            up.wait()
    ticks = [json.loads(line) for line in output.read_text().splitlines()]
    ticks = [one for one in ticks if one["type"] == "tick"]
    changed = [one for one in ticks if one["decision"]["replicas"] != one["decision"]["was"]]
    looks = [(one["time"], one["decision"]["replicas"]) for one in changed]
    return ticks[0]["time"], began, looks, json.loads(report)


def first_request() -> float:
    """When the gateway counted the first one."""
    while True:
        with urllib.request.urlopen(f"http://127.0.0.1:{GATEWAY}/metrics") as answer:
            lines = answer.read().decode().splitlines()
        if any(line.startswith(COUNTER) and not line.endswith(" 0") for line in lines):
            return wall_time()
        pause(0.02)


def replay(trace: str, seconds: float, offset: float):  # noqa: ANN201
    """The same, with the same time before the first request."""
    from stoker.replay.job import Job, Traffic, begin, finish
    from stoker.replay.result import Judging
    from stoker.replay.setup import Setup, Spread
    from stoker.replay.slo import DEFAULT, Slo
    from stoker.scaling.settings import ControllerSettings
    from stoker.traces.reading import load, read

    arrivals = load(read(Path(trace)))
    arrivals = arrivals.shifted(-float(arrivals.times[0])).between(0.0, seconds).shifted(offset)
    setup = Setup(
        max_num_seqs=SEATS,
        startup=Spread(STARTUP + 0.6, STARTUP + 0.6),  # a process takes a moment to start
        cold=True,
        stabilization_window=WINDOW,
        settings=ControllerSettings(downscale_stabilization=WINDOW),
    )
    job = Job(FILE, (), 0, setup, Judging(Slo.parse(DEFAULT), None, baselines=False))
    traffic = Traffic(trace, arrivals)
    return finish(begin(job, traffic), job, traffic)


if __name__ == "__main__":
    main()
