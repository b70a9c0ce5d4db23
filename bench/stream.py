"""What a streamed token costs on its way: simulated engine, gateway, load generator.

One stack with one replica is loaded through the gateway; utime+stime of each process is divided by
the tokens that were streamed.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from idle import _cpu, _until_ready, _up, gateway_pid

from stoker.api.client import Client
from stoker.api.kinds import POD

ROUNDS = 5


def markdown() -> str:
    """A markdown table: CPU microseconds a token, median and spread over rounds."""
    costs: dict[str, list[float]] = {
        name: [] for name in ("engine", "gateway", "control", "load generator")
    }
    with tempfile.TemporaryDirectory() as directory:
        process = _up(Path(directory))
        try:
            _until_ready(Path(directory))
            client = Client.discover(Path(directory))
            engine = int(client.objects(POD)[0]["metadata"]["annotations"]["stoker/pid"])
            url = client.overview()["gateway_url"]
            gateway = gateway_pid(Path(directory))
            for _ in range(ROUNDS):
                before = _cpu(engine), _cpu(gateway), _cpu(process.pid), os.times()
                report = _load(url)
                tokens = report["output_tokens"]
                after = os.times()
                spent = {
                    "engine": _cpu(engine) - before[0],
                    "gateway": _cpu(gateway) - before[1],
                    "control": _cpu(process.pid) - before[2],
                    "load generator": (after.children_user + after.children_system)
                    - (before[3].children_user + before[3].children_system),
                }
                for name, seconds in spent.items():
                    costs[name].append(seconds / tokens * 1e6)
        finally:
            process.terminate()
            process.wait(30)
            if process.stdin:
                process.stdin.close()
    rows = ["| process | CPU us a token, median | min | max |", "|---|---|---|---|"]
    rows += [
        f"| {name} | {statistics.median(c):.0f} | {min(c):.0f} | {max(c):.0f} |"
        for name, c in costs.items()
    ]
    return "\n".join(rows)


def _load(url: str) -> dict[str, float]:
    command = [
        sys.executable, "-m", "stoker", "load", url, "--concurrency=32", "--num-requests=128",
        "--prompt-len=200", "--max-tokens=200", "--output=json",
    ]  # fmt: skip
    out = subprocess.run(command, capture_output=True, check=True).stdout
    report: dict[str, float] = json.loads(out)
    return report


if __name__ == "__main__":
    print(markdown())
