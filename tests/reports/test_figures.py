"""Figures: axes with round numbers, gaps that stay gaps, XML that is well formed."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.reports import raster, svg
from stoker.reports.figure import (
    Figure,
    Mark,
    Panel,
    Rule,
    nice_ticks,
    number_text,
    thinned,
    time_text,
    time_ticks,
)
from stoker.reports.replay_figures import best_of, pareto, timeline

NS = {"s": "http://www.w3.org/2000/svg"}


def drawn(figure: Figure, *, alone: bool = False) -> ET.Element:
    return ET.fromstring(svg.draw(figure, alone=alone))  # noqa: S314 - our own text


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6), st.integers(1, 12), st.booleans())
def test_ticks_are_inside_even_and_not_too_many(low, span, count, integers):
    ticks = nice_ticks(low, low + span, count, integers=integers)
    assert len(ticks) <= 2 * count + 2
    slack = span * 1e-6 + 1e-9 * abs(low)
    assert all(low - slack <= tick <= low + span + slack for tick in ticks)
    assert np.ptp(np.diff(ticks)) <= slack if len(ticks) > 2 else True
    if integers:
        assert all(float(tick).is_integer() for tick in ticks)


@pytest.mark.parametrize(
    ("seconds", "step", "text"),
    [
        (0, 10, "0:00"),
        (75, 5, "1:15"),
        (4500, 600, "1:15"),
        (3661, 1, "1:01:01"),
        (90_000, 3600, "1d 1h"),
        (91_800, 900, "1d 1:30"),
        (172_800, 86_400, "2d"),
    ],
)
def test_times_are_as_fine_as_their_step(seconds, step, text):
    assert time_text(seconds, step) == text


def test_time_ticks_are_round_times():
    assert time_ticks(0, 3600, 6) == [0, 600, 1200, 1800, 2400, 3000, 3600]
    assert time_ticks(0, 14 * 86400, 7) == [86400.0 * at for at in range(0, 15, 2)]


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (0.25, "0.25"), (12, "12"), (1500, "1,500"), (2.5e6, "2.5M")]
)
def test_numbers_are_short(value, text):
    assert number_text(value) == text


def test_thinning_keeps_the_peaks():
    y = np.zeros(100_000)
    y[[17, 55_555]] = [9.0, -3.0]
    x, kept = thinned(np.arange(100_000.0), y, 500)
    assert len(x) <= 502
    assert (kept.max(), kept.min()) == (9.0, -3.0)
    assert (np.diff(x) > 0).all()


def test_the_axis_ends_at_a_round_number_above_everything():
    panel = Panel("x", rules=[Rule(7.2, "limit")], marks=[Mark(0, 3, "m")])
    panel.line([0, 1], [1, 5], "a", "p50")
    assert panel.limits() == (0.0, 8.0)
    assert Panel("empty").limits()[1] > 0


def test_steps_go_across_before_they_go_up():
    panel = Panel("Replicas")
    panel.steps([0, 50, 100], [1, 3, 3], "ready", "ready")
    figure = Figure("f", "t", [panel], x_limits=(0, 100))
    (curve,) = [
        path.get("d") for path in drawn(figure).iterfind(".//s:path[@class='ready curve']", NS)
    ][1:]  # the first is the legend's
    assert re.fullmatch(r"M[\d.]+ [\d.]+H[\d.]+V[\d.]+H[\d.]+", curve)


def test_a_gap_breaks_a_curve_in_two():
    panel = Panel("x")
    panel.line([0, 1, 2, 3, 4], [1, 1, np.nan, 1, 1], "p50", "p50")
    figure = Figure("f", "t", [panel], x_limits=(0, 4))
    assert len(drawn(figure).findall(".//s:path[@class='p50 curve']", NS)) == 1 + 2


@pytest.mark.parametrize("alone", [False, True])
def test_a_timeline_is_well_formed_and_says_what_it_shows(alone, replay_run, hostile):
    figure = timeline(replay_run(hostile), slo_ttft=2.0)
    root = drawn(figure, alone=alone)
    texts = ["".join(text.itertext()) for text in root.iterfind(".//s:text", NS)]
    for words in ("Arrivals requests/s", "Replicas", "wanted", "ready", "p95", "SLO 2 s"):
        assert words in texts
    tips = [mark.get("data-tip") for mark in root.iterfind(".//s:g[@tabindex='0']", NS)]
    assert tips[0].startswith("0:10:00  1 -> 4")
    assert "19366 requests, 2 scale events, up to 4 replicas" in root.get("aria-label")
    assert bool(root.findall(".//s:style", NS)) == alone


def test_lines_differ_by_more_than_colour():
    css = (Path(svg.__file__).parent / "assets" / "figure.css").read_text()
    dashes = {
        name: re.search(rf"svg \.{name} \{{[^}}]*stroke-dasharray:([^;}}]+)", css)
        for name in ("wanted", "ready", "p50", "p95", "p99")
    }
    assert dashes["ready"] is None
    assert dashes["p50"] is None
    assert len({dashes[name][1] for name in ("wanted", "p95", "p99")}) == 3


def test_the_front_has_what_no_other_beats_and_not_the_clairvoyant(replay_document, hostile):
    assert list(best_of(replay_document()["runs"], "$").values()) == [
        "values.yaml",
        hostile,
        "static at peak",
    ]


def test_a_pareto_plot_marks_files_baselines_and_the_bound_differently(replay_document):
    root = drawn(pareto(replay_document()["runs"], unit="$"))
    shapes = [
        mark[-1].tag.rpartition("}")[2] for mark in root.iterfind(".//s:g[@tabindex='0']", NS)
    ]
    assert shapes == ["circle", "circle", "rect", "rect", "path"]


def test_figures_are_drawn_as_png_too(tmp_path, replay_document, replay_run):
    for figure in (timeline(replay_run("a"), slo_ttft=2.0), pareto(replay_document()["runs"])):
        path = tmp_path / f"{figure.name}.png"
        raster.draw(figure, path)
        assert path.read_bytes().startswith(b"\x89PNG")
        assert path.stat().st_size > 10_000


def test_a_run_without_replicas_or_decisions_can_be_drawn(replay_run):
    empty = replay_run("a") | {"replicas": [], "decisions": []}
    assert drawn(timeline(empty)) is not None
