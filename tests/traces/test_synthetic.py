"""Synthetic traffic: the rate is the one that was written, and errors point at the column."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.errors import InputError
from stoker.traces import synthetic
from stoker.traces.arrivals import Arrivals, joined
from stoker.traces.statistics import Description
from stoker.traces.synthetic.lengths import Lengths, parse_lengths

HOUR = 3600.0


def times(expression: str, duration: float = HOUR, seed: int = 0) -> np.ndarray:
    return joined(synthetic.parse(expression, duration=duration, seed=seed)).times


def count(expression: str, start: float, end: float, duration: float = HOUR) -> int:
    found = times(expression, duration)
    return int(((found >= start) & (found < end)).sum())


def test_a_poisson_process_has_its_rate_and_variation():
    found = Description.of(synthetic.parse("poisson(rate=8)", duration=2 * HOUR))
    assert found.requests == pytest.approx(57_600, rel=0.02)
    assert found.gap_variation == pytest.approx(1.0, abs=0.02)
    assert found.burstiness()[0].dispersion == pytest.approx(1.0, abs=0.06)


def test_a_number_is_a_poisson_process():
    assert times("3.5").tolist() == times("poisson(3.5)").tolist()


def test_even_traffic_has_equal_gaps():
    assert np.diff(times("even(4)", 10)).tolist() == pytest.approx([0.25] * 38)


@pytest.mark.parametrize("cv", [0.3, 2.5])
def test_gamma_gaps_have_their_variation(cv):
    found = Description.of(synthetic.parse(f"gamma(rate=10, cv={cv})", duration=2 * HOUR))
    assert found.gap_variation == pytest.approx(cv, rel=0.05)
    assert found.requests == pytest.approx(72_000, rel=0.04)


def test_a_day_is_low_at_its_start_and_high_in_its_middle():
    low, high = (count("diurnal(base=2,peak=16,period=1h)", a, a + 120) for a in (0, 1740))
    assert low == pytest.approx(2.1 * 120, rel=0.2)
    assert high == pytest.approx(16 * 120, rel=0.1)
    assert len(times("diurnal(2, 16, 1h)")) == pytest.approx(9 * HOUR, rel=0.03)


def test_a_step_and_a_ramp_are_where_they_were_put():
    assert count("step(before=0, after=5, at=30m)", 0, 1800) == 0
    assert count("step(before=0, after=5, at=30m)", 1800, 3600) == pytest.approx(9000, rel=0.05)
    assert count("ramp(start=0, end=10, over=20m, at=10m)", 0, 600) == 0
    assert count("ramp(start=0, end=10, over=20m, at=10m)", 600, 1800) == pytest.approx(
        6000, rel=0.05
    )
    assert count("ramp(start=0, end=10, over=20m, at=10m)", 1800, 3600) == pytest.approx(
        18_000, rel=0.05
    )


def test_on_and_off_take_turns_to_the_second():
    found = times("onoff(rate=20, on=50s, off=70s)", 1200)
    assert (found % 120 < 50).all()
    assert len(found) == pytest.approx(20 * 500, rel=0.05)


def test_bursts_come_as_often_as_asked_and_last_as_long():
    found = times("bursts(rate=50, every=10m, length=20s)", 50 * HOUR)
    assert len(found) == pytest.approx(300 * 1000, rel=0.15)
    starts = found[np.concatenate([[True], np.diff(found) > 30])]
    assert all((found[(found >= s) & (found < s + 30)] - s).max() < 20.0 for s in starts[:20])


def test_a_sum_is_the_streams_side_by_side():
    total = len(times("poisson(2) + poisson(3)"))
    assert total == pytest.approx(5 * HOUR, rel=0.04)
    assert (np.diff(times("poisson(2) + poisson(3)")) >= 0).all()


def test_a_product_scales_and_distributes_over_sums():
    assert len(times("2 * poisson(3)")) == pytest.approx(6 * HOUR, rel=0.04)
    assert count("poisson(10) * onoff(on=10m, off=20m)", 600, 1800) == 0
    assert len(times("2 * (poisson(1) + 3)")) == pytest.approx(8 * HOUR, rel=0.04)


def test_gaps_of_a_product_vary_as_the_irregular_factor():
    found = Description.of(synthetic.parse("2 * gamma(rate=5, cv=3)", duration=4 * HOUR))
    assert found.gap_variation == pytest.approx(3, rel=0.08)


def test_rates_of_a_file_hold_until_the_next(tmp_path):
    path = tmp_path / "rates.csv"
    path.write_text("t_seconds,rate_rps,active_clients\n0,10,1\n600,0,1\n1200,5,1\n")
    found = times(f"rates('{path}')", 1800)
    assert ((found >= 0) & (found < 600)).sum() == pytest.approx(6000, rel=0.05)
    assert ((found >= 600) & (found < 1200)).sum() == 0
    assert (found >= 1200).sum() == pytest.approx(3000, rel=0.07)


def test_the_same_seed_gives_the_same_requests_and_another_others():
    one, same, other = (times("2 + bursts()", seed=seed).tolist() for seed in (1, 1, 2))
    assert one == same != other


def test_a_longer_run_begins_like_a_shorter_one():
    short, long = times("diurnal(2, 8, 1h)", HOUR), times("diurnal(2, 8, 1h)", 2 * HOUR)
    assert long[: len(short)].tolist() == pytest.approx(short.tolist(), abs=1e-6)


def test_a_rate_of_zero_is_no_requests():
    assert len(times("0")) == 0


@pytest.mark.parametrize(
    ("expression", "column", "says"),
    [
        ("", 1, "the text ends"),
        ("diurnl(2, 16)", 1, "unknown `diurnl`"),
        ("poisson(rate=5", 15, "`,` or `)`"),
        ("poisson(5, 6)", 12, "too many"),
        ("poisson(rte=5)", 9, "no argument `rte`"),
        ("poisson(rate=5, rate=6)", 17, "given twice"),
        ("poisson(-5)", 9, "must be 0 or more"),
        ("gamma(5, cv=0)", 10, "must be more than 0"),
        ("step(1, 2)", 1, "`at` is missing"),
        ("poisson('x')", 9, "must be a number"),
        ("rates(5)", 7, "must be a text"),
        ("5 + ", 4, "the text ends"),
        ("5 5", 3, "not expected"),
        ("a $ b", 3, "not understood"),
        ("1 + bursts(length=20m)", 5, "do not fit"),
        ("(" * 3 + "1", 5, "`)` should be here"),
    ],
)
def test_an_error_points_at_the_column(expression, column, says):
    with pytest.raises(InputError) as error:
        synthetic.parse(expression, duration=10)
    assert says in error.value.message
    assert error.value.message.startswith(f"column {column}: ")


def test_a_name_that_is_nearly_right_is_suggested():
    with pytest.raises(InputError) as error:
        synthetic.parse("diurnl(2, 16)", duration=10)
    assert "did you mean `diurnal`" in error.value.hint


@given(st.text(alphabet="poison()+*=,.0123456789 '\"hmsd-$", max_size=40))
def test_no_text_makes_the_parser_fail_otherwise(text):
    with contextlib.suppress(InputError):
        synthetic.parse(text, duration=1)


@pytest.mark.parametrize(
    ("law", "median", "mean"),
    [
        ("200", 200, 200),
        ("fixed(200)", 200, 200),
        ("lognormal(median=1000, p90=3000)", 1000, 1444),
        ("uniform(1, 99)", 50, 50),
        ("exponential(mean=300)", 208, 300),
    ],
)
def test_laws_of_lengths_have_their_parameters(law, median, mean):
    draw = parse_lengths(law)
    prompt, output = Lengths(draw, draw).draw(60_000, np.random.default_rng(0))
    assert np.median(prompt) == pytest.approx(median, rel=0.03)
    assert output.mean() == pytest.approx(mean, rel=0.03)
    assert output.min() >= 1


def test_the_ninetieth_percentile_is_the_one_that_was_written():
    drawn = parse_lengths("lognormal(median=1020,p90=2735)")(100_000, np.random.default_rng(1))
    assert np.percentile(drawn, 90) == pytest.approx(2735, rel=0.03)


@pytest.mark.parametrize("law", ["0", "lognormal(5, 4)", "uniform(9, 1)", "normal(1)", "1 + 2"])
def test_laws_that_are_none_are_refused(law):
    with pytest.raises(InputError):
        parse_lengths(law)


def test_lengths_like_a_trace_keep_prompt_and_answer_together():
    trace = Arrivals.of([0, 1, 2], [10, 20, 30], [1, 2, 3])
    found = joined(synthetic.parse("50", duration=60, lengths=Lengths.like(trace)))
    assert set(zip(found.prompt_tokens.tolist(), found.output_tokens.tolist(), strict=True)) == {
        (10, 1),
        (20, 2),
        (30, 3),
    }
