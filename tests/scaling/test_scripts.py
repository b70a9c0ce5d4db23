"""Every script in testdata: one file, one rule."""

from __future__ import annotations

from pathlib import Path

import pytest

from .script import run

SCRIPTS = sorted((Path(__file__).parent / "testdata").glob("*.test"))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_rule(path: Path) -> None:
    assert list(run(path)) == []


def test_a_wrong_expectation_is_told_with_its_line(tmp_path: Path) -> None:
    script = tmp_path / "wrong.test"
    script.write_text(
        "trigger queue target=5\nspec max=10\n"
        "at 15s sync queue=15 replicas=1 expect 2 Nonsense AbleToScale=False/Never\n"
    )

    problems = list(run(script))

    assert [p.split(":")[:2] for p in problems] == [["wrong.test", "3"]] * 3
    assert "3 replicas (SucceededRescale" in problems[0]
