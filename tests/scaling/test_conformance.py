"""The core against recorded decisions of the real controllers.

Samples are in the repository; the whole collection runs where STOKER_SHARED points to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .live import differences
from .recordings import (
    SAMPLES,
    calc_differences,
    executor_differences,
    hpa_differences,
    lines,
    rate_differences,
    shared,
)

FILES: dict[str, Callable[[dict[str, Any]], Iterator[str]]] = {
    "hpa/hpa_cases": hpa_differences,
    "hpa/calc_cases": calc_differences,
    "hpa/rate_cases": rate_differences,
    "keda/executor_cases": executor_differences,
}


def disagreements(path: Path, run: Callable[[dict[str, Any]], Iterator[str]]) -> list[str]:
    """The first difference of every case that has one."""
    cases = list(lines(path))
    assert cases
    return [first for case in cases if (first := next(run(case), None)) is not None]


@pytest.mark.parametrize("name", FILES)
def test_decides_as_the_sampled_recordings(name: str) -> None:
    path = SAMPLES / f"{Path(name).name}.jsonl.gz"

    assert disagreements(path, FILES[name]) == []


@pytest.mark.parametrize("name", FILES)
def test_decides_as_all_recordings(name: str) -> None:
    assert disagreements(shared(f"{name}.jsonl.gz"), FILES[name]) == []


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("live/*.gz")), ids=lambda p: p.name[:-9])
def test_scales_as_the_sampled_live_runs(path: Path) -> None:
    assert differences(path) == []


def test_scales_as_all_live_runs() -> None:
    # in the first trap run nobody finished the deletion of pods: they stay for ever
    folders = {"keda/live": 1.0, "kubernetes/traps/live": 1e9}
    folders |= {"kubernetes/traps/live2": 1.0, "kubernetes/traps/live3": 1.0}
    found = {
        f"{folder}/{path.name}": difference
        for folder, terminating_for in folders.items()
        for path in sorted(shared(folder).glob("*.gz"))
        if not path.name.startswith("ext-")  # an external scaler: not a trigger of ours yet
        for difference in differences(path, terminating_for=terminating_for)
    }

    assert found == {}
