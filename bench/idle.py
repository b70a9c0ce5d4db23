"""What `stoker up` costs while nothing happens: CPU share and memory of the control process.

Reads utime+stime and RSS of the process from /proc, so the measurement changes nothing inside it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from stoker.api.client import Client
from stoker.errors import ConflictError

VALUES = Path(__file__).parents[1] / "examples" / "01-production-stack" / "values.yaml"
SECONDS = 60
ROUNDS = 3


def markdown() -> str:
    """A markdown table: a row for each round."""
    rows = ["| round | process | CPU, % of one core | RSS, MB | PSS, MB |", "|---|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as directory:
        process = _up(Path(directory))
        try:
            _until_ready(Path(directory))
            time.sleep(5)
            for number in range(1, ROUNDS + 1):
                pids = {"control": process.pid, "gateway": gateway_pid(Path(directory))}
                before = {name: _cpu(pid) for name, pid in pids.items()}
                time.sleep(SECONDS)
                for name, pid in pids.items():
                    share = (_cpu(pid) - before[name]) / SECONDS * 100
                    rss, pss = _memory(pid)
                    rows.append(f"| {number} | {name} | {share:.2f} | {rss:.0f} | {pss:.0f} |")
        finally:
            process.terminate()
            process.wait(30)
            if process.stdin:
                process.stdin.close()
    return "\n".join(rows)


def _up(directory: Path) -> subprocess.Popen[bytes]:
    command = [
        sys.executable, "-m", "stoker", "up", str(VALUES), "--engine=simulated", "--startup=2s",
        "--gateway-port=0", "--prometheus-port=0", f"--state-dir={directory}",
        "--until-stdin-closes",
    ]  # fmt: skip
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)


def _until_ready(directory: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if Client.discover(directory).overview()["models"][0]["ready"]:
                return
        except ConflictError:
            pass
        time.sleep(0.5)
    raise SystemExit("the replica did not become ready")


def gateway_pid(directory: Path) -> int:
    """The gateway's process."""
    [pid] = json.loads((directory / "gateway.json").read_text())["pids"]
    return int(pid)


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory(pid: int) -> tuple[float, float]:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    kilobytes = {line.split()[0]: int(line.split()[1]) for line in lines[1:]}
    return kilobytes["Rss:"] / 1024, kilobytes["Pss:"] / 1024


if __name__ == "__main__":
    print(markdown())
