"""The core against recorded decisions of the real controllers.

Samples are in the repository; the whole collection runs where STOKER_SHARED points to it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from stoker.backtest.conformance import recordings, run_file

SAMPLES = Path(__file__).parents[1] / "data" / "recordings"


@pytest.mark.parametrize("path", sorted(SAMPLES.rglob("*.gz")), ids=lambda p: p.name[:-9])
def test_decides_as_the_sampled_recordings(path: Path) -> None:
    result = run_file(path, path.name)

    assert result.total > 0
    assert result.differences == ()


def test_decides_as_all_recordings(shared_data: Path) -> None:
    results = [run_file(path, path.name) for path in recordings(shared_data)]

    assert sum(result.total for result in results) > 3000
    assert {r.name: r.differences for r in results if not r.ok} == {}
