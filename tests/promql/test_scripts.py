"""The scripts in testdata/ pass, and the runner tells when a script does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from stoker.errors import InputError
from stoker.promql import promqltest
from stoker.promql.promqltest import run

SCRIPTS = sorted((Path(__file__).parent / "testdata").glob("*.test"))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_script_passes(path):
    cases = run(path.read_text(), path.name)
    assert cases
    assert [case for case in cases if case.outcome != "passed"] == []


LOADED = 'load 1m\n  x{a="1"} 1 2 3\n  y 5\n'


@pytest.mark.parametrize(
    ("eval_", "difference"),
    [
        pytest.param('eval instant at 0 x\n  x{a="1"} 2', "expected 2, got 1", id="value"),
        pytest.param("eval instant at 0 x", "unexpected: x", id="too much"),
        pytest.param('eval instant at 0 x\n  x{a="1"} 1\n  z 1', "missing: z 1", id="too little"),
        pytest.param("eval instant at 0 1 + 1\n  3", "expected scalar 3, got 2", id="scalar"),
        pytest.param("eval_fail instant at 0 x", "expected an error", id="no error"),
        pytest.param("eval instant at 0 sum(", "unexpected error", id="error"),
        pytest.param(
            "eval instant at 0 topk(NaN, x)\n  expect fail msg: other", "expected error", id="words"
        ),
        pytest.param(
            'eval_ordered instant at 0 sort_desc({__name__=~"x|y"})\n  x{a="1"} 1\n  y 5',
            "expected this order",
            id="order",
        ),
        pytest.param(
            'eval instant at 0 x\n  expect warn\n  x{a="1"} 1', "expected a warn", id="warn"
        ),
        pytest.param('eval instant at 0 "a"\n  expect string "b"', "expected string", id="string"),
        pytest.param(
            'eval range from 0 to 2m step 1m x\n  x{a="1"} 1 _ 3', "expected 1 _ 3", id="range"
        ),
    ],
)
def test_runner_tells_what_is_wrong(eval_, difference):
    (case,) = run(LOADED + eval_)
    assert case.outcome == "failed"
    assert difference in case.difference


def test_cases_with_native_histograms_are_skipped_and_only_those():
    script = "load 1m\n  h {{schema:0 sum:1 count:1}}\n  x 1\neval instant at 0 rate(h[1m])\n"
    script += "eval instant at 0 x\n  x 1\neval instant at 0 x\n  {} {{count:1}}\n"
    assert [case.outcome for case in run(script)] == ["skipped", "passed", "skipped"]


def test_clear_forgets():
    (case,) = run(LOADED + "clear\neval instant at 0 x\n")
    assert case.outcome == "passed"


def test_old_words_are_understood():
    script = LOADED + (
        "eval_fail instant at 0 topk(NaN, x)\n  expected_fail_message Parameter value is NaN\n"
    )
    (case,) = run(script)
    assert case.outcome == "passed"


def test_script_that_cannot_be_read_names_its_line():
    with pytest.raises(InputError) as caught:
        run("load 1m\n  x 1\nevaluate x\n", "my.test")
    assert str(caught.value.place) == "my.test:3"


def test_command_ends_with_the_totals(tmp_path, capsys):
    path = tmp_path / "one.test"
    path.write_text(LOADED + "eval instant at 0 y\n  y 5\neval instant at 0 y\n  y 6\n")
    assert promqltest.main([str(path)]) == 1
    out = capsys.readouterr().out
    assert "y: expected 6, got 5" in out
    assert out.endswith("\n1 passed, 1 failed, 0 skipped\n")


def test_start_timestamps_are_read_and_passed_over():
    script = "load 1m\n  @st -1m\n  x@st 0s -1mx1\n  x 1 2 3\neval instant at 2m x\n  x 3\n"
    assert [case.outcome for case in run(script)] == ["passed"]


def test_words_may_be_capitals_and_expectations_stand_at_the_margin():
    script = "LOAD 1m\nx{a='1', b=`2`} 1\n\nEval instant at 0 x\n"
    script += 'expect ok\nexpect no_info\nx{b="2",a="1"} 1\nCLEAR\n'
    assert [case.outcome for case in run(script)] == ["passed"]


def test_every_warning_must_be_foreseen_if_one_is():
    script = LOADED + "eval instant at 0 quantile(2, x) + quantile(3, x)\n"
    warning = "PromQL warning: quantile value should be between 0 and 1, got 2"
    script += f"  expect warn msg: {warning}\n  {{}} Inf\n"
    (case,) = run(script)
    assert case.difference.startswith("unexpected warn: PromQL warning: quantile value")


def test_unreadable_lines_and_our_own_faults_are_failed_cases(monkeypatch, tmp_path, capsys):
    def broken(*_, **__):
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(promqltest, "instant", broken)
    path = tmp_path / "one.test"
    path.write_text(
        "nonsense\n\nload 1m\n  x one\n\neval instant at 0 1\n  1\n\n"
        "eval range from 0 to 1 step 1 2\n  {} 2 2\n"
    )
    assert promqltest.main([str(path), str(tmp_path / "none.test")]) == 1
    out = capsys.readouterr().out
    assert "cannot be read: " in out
    assert "the evaluator broke: ZeroDivisionError: oh" in out
    assert out.endswith("\n1 passed, 4 failed, 0 skipped\n")


def test_series_that_cannot_be_read_does_not_take_the_others_along():
    script = "load 1m\n  x one\n  y 2\neval instant at 0 y\n  y 2\n"
    first, second = run(script, keep_going=True)
    assert (first.line, first.outcome, second.outcome) == (2, "failed", "passed")
