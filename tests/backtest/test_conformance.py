from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from stoker import cli
from stoker.backtest.conformance import recordings, report, run_file
from stoker.cli.console import run
from stoker.errors import InputError

SAMPLES = Path(__file__).parents[1] / "data" / "recordings"


def rewritten(name, folder, change, *, to="renamed.jsonl"):
    """A sample under another name and uncompressed, each line changed by *change*."""
    with gzip.open(SAMPLES / name, "rt") as file:
        cases = [json.loads(line) for line in file]
    for number, case in enumerate(cases):
        change(number, case)
    path = folder / to
    path.write_text("".join(f"{json.dumps(case)}\n" for case in cases))
    return path, len(cases)


def first_replicas_off_by_one(number, case):
    if number == 0:
        case["steps"][3]["desired"] += 1


def limit_off_by_one(number, case):
    if number == 2:
        case["limit"] += 1


def usage_off_by_one(_, case):
    if not case.get("err"):
        case["usage_milli"] += 1


@pytest.mark.parametrize(
    ("name", "change", "told"),
    [
        ("hpa_cases.jsonl.gz", first_replicas_off_by_one, "desired"),
        ("executor_cases.jsonl.gz", first_replicas_off_by_one, "desired"),
        ("rate_cases.jsonl.gz", limit_off_by_one, "limit"),
    ],
)
def test_a_wrong_recording_is_found_whatever_its_name(tmp_path, name, change, told) -> None:
    path, total = rewritten(name, tmp_path, change)

    result = run_file(path, "here")

    assert (result.passed, result.total, result.ok) == (total - 1, total, False)
    (difference,) = result.differences
    assert told in difference
    assert report(result).split("\n")[0] == f"here {total - 1}/{total}"
    assert difference in report(result)


def test_only_the_first_differences_are_shown_in_full(tmp_path) -> None:
    path, _ = rewritten("calc_cases.jsonl.gz", tmp_path, usage_off_by_one)

    result = run_file(path, "here")
    lines = report(result).split("\n")

    assert len(lines) == 7
    assert lines[-1] == f"  and {result.total - result.passed - 5} more cases that differ"


def four_seconds_later(_, case):
    if "spec_replicas" in case:
        case["t"] += 4 if case["spec_replicas"] != 1 else 0


def test_a_live_recording_is_compared_over_time(tmp_path) -> None:
    path, _ = rewritten("live/formula.jsonl.gz", tmp_path, four_seconds_later)

    result = run_file(path, "live")

    assert (result.passed, result.total) == (0, 1)
    assert "recorded" in result.differences[0]


def never_limited(_, case):
    if case.get("hpa"):
        case["hpa"]["cond"]["ScalingLimited"] = "False/DesiredWithinRange"


def test_conditions_of_a_live_recording_are_compared_too(tmp_path) -> None:
    path, _ = rewritten("live/rand04.jsonl.gz", tmp_path, never_limited)

    result = run_file(path, "live")

    assert (result.passed, result.total) == (0, 1)
    assert "HPA ScalingLimited" in result.differences[0]


def of_another_type(_, case):
    for trigger in case.get("scaledobject", {}).get("spec", {}).get("triggers", []):
        trigger["type"] = "redis"


def test_a_trigger_that_is_not_there_is_skipped_by_name(tmp_path) -> None:
    path, _ = rewritten("live/formula.jsonl.gz", tmp_path, of_another_type)

    result = run_file(path, "live")

    assert report(result) == "live skipped: trigger type redis is not read from recordings yet"
    assert result.ok


def test_a_case_that_raises_is_one_that_differs(tmp_path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"id": 7, "fn": "Nothing", "target_milli": 1}\n')

    assert "case 7 raised KeyError" in run_file(path, "x").differences[0]


def test_other_files_are_passed_over(tmp_path) -> None:
    (tmp_path / "a.jsonl").write_text('{"time": 1}\n')
    (tmp_path / "b.jsonl").write_text("[1]\n")
    (tmp_path / "c.jsonl").write_text("no json\n")
    (tmp_path / "d.jsonl").write_text("")
    (tmp_path / "e.txt").write_text("")
    (tmp_path / "f.jsonl.gz").write_text("not compressed")
    rewritten("rate_cases.jsonl.gz", tmp_path, lambda *_: None, to="g.jsonl")

    assert [path.name for path in recordings(tmp_path)] == ["g.jsonl"]
    (tmp_path / "g.jsonl").unlink()
    with pytest.raises(InputError, match="no recording of decisions"):
        list(recordings(tmp_path))


def conformance(folder):
    arguments = ["conformance", str(folder)]
    return run(lambda: cli.stoker.main(arguments, "stoker", standalone_mode=False))


def test_the_command_says_a_line_a_file_and_ends_with_1_on_any_difference(tmp_path, capsys) -> None:
    rewritten("rate_cases.jsonl.gz", tmp_path, lambda *_: None, to="good.jsonl")
    assert conformance(tmp_path) == 0
    good = capsys.readouterr().out.splitlines()
    assert good[0].startswith("good.jsonl ")
    assert good[-1].endswith("in 1 files decide as recorded")

    rewritten("rate_cases.jsonl.gz", tmp_path, limit_off_by_one, to="bad.jsonl")
    assert conformance(tmp_path) == 1
    assert capsys.readouterr().out.splitlines()[0].startswith("bad.jsonl ")
    assert conformance(tmp_path / "nowhere") == 2
