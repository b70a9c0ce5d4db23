"""`make bench [ARGS="core idle"]`: all benchmarks, or those that are named. Prints markdown."""

from __future__ import annotations

import importlib
import platform
import sys
from pathlib import Path

BENCHES = (
    "core",
    "collector",
    "check",
    "promql",
    "idle",
    "stream",
    "reaction",
    "triggers",
    "scaler",
    "replay",
    "gateway",
)


def machine() -> str:
    """What the figures were taken on."""
    cpu = next(
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    )
    cores = len({int(n) for n in _cpus()})
    return f"{cpu}, {cores} cores, Python {platform.python_version()}, {platform.system()}"


def _cpus() -> set[int]:
    import os

    return os.sched_getaffinity(0)


def main() -> None:
    """Run them one after another."""
    chosen = sys.argv[1:] or BENCHES
    unknown = sorted(set(chosen) - set(BENCHES))
    if unknown:
        sys.exit(f"error: no benchmark {', '.join(unknown)}; there are {', '.join(BENCHES)}")
    sys.path.insert(0, str(Path(__file__).parent))
    print(f"Machine: {machine()}\n")
    for name in chosen:
        module = importlib.import_module(name)
        print(f"## {name}\n\n{(module.__doc__ or '').splitlines()[0]}\n\n{module.markdown()}\n")


if __name__ == "__main__":
    main()
