from __future__ import annotations

import csv
import io

import pytest

from stoker.backtest import Tally
from stoker.errors import InputError, MachineError
from stoker.reports.plot import Curves, check_plot_file, plot
from stoker.reports.timeline import (
    changes,
    comparison,
    csv_lines,
    length,
    moment,
    row,
    summary_line,
    table,
)

from .conftest import a_spec, metrics, walk

NAMES = ("s0-prometheus",)
UP_AND_DOWN = metrics((0, 15), (20, 0), (280, 0), (560, 0))


def rows(found):
    return [row(tick, NAMES) for tick in found]


def test_only_news_is_shown_by_default_and_the_last_look() -> None:
    found = walk(a_spec(), UP_AND_DOWN, 600)
    shown = list(changes(found))

    assert [t.decision.replicas for t in shown if t.decision.changes] == [3, 1]
    assert (shown[0], shown[-1]) == (found[0], found[-1])
    assert len(shown) < len(found) / 4
    assert [t.time for t in shown] == sorted(t.time for t in shown)


def test_a_steady_run_is_its_first_look_and_its_last() -> None:
    shown = list(changes(walk(a_spec(), metrics((0, 5), (200, 5)), 300)))

    assert [t.time for t in shown] == [0, 300]


def test_failing_and_recovering_is_news() -> None:
    found = walk(a_spec(), metrics((0, 5), (100, None), (160, 5)), 240)
    failed = [(t.time, bool(t.readings[0].error)) for t in changes(found)]

    # the first sync and the first poll that see it, each time
    assert failed[1:-1] == [(105, True), (120, True), (165, False), (180, False)]


def test_becoming_ready_is_news() -> None:
    found = walk(a_spec(), metrics((0, 15), (200, 15)), 240, startup=60)

    assert [t.time for t in changes(found)] == [0, 15, 75, 240]


def test_a_table_has_numbers_to_the_right_and_whole_reasons() -> None:
    head, first, *_, last = table(rows(walk(a_spec(), metrics((0, 12)), 15)), NAMES).split("\n")

    assert head.split() == [
        "TIME", "LOOK", "s0-prometheus", "RECOMMENDED", "DECISION", "READY", "REASON",
    ]  # fmt: skip
    assert first.split()[:6] == ["+0s", "poll", "12", "-", "1", "1/1"]
    assert last.split()[:6] == ["+15s", "sync", "12", "3", "1→3", "3/3"]
    assert last.endswith(
        "SucceededRescale: the HPA controller was able to update the target scale to 3"
    )
    assert head.index("DECISION") + len("DECISION") == last.index("1→3") + len("1→3")


def test_a_failed_trigger_says_why() -> None:
    text = table(rows(walk(a_spec(), metrics((0, None)), 0)), NAMES)

    assert " error " in text
    assert "s0-prometheus error: the source fails" in text


def test_csv_reads_back() -> None:
    found = walk(a_spec(), metrics((0, 12), (20, None)), 30)
    (poll, sync, failed, _) = csv.DictReader(io.StringIO("\n".join(csv_lines(rows(found), NAMES))))

    assert (poll["time"], poll["look"], poll["recommendation"]) == ("0", "poll", "")
    assert (sync["s0-prometheus"], sync["recommendation"], sync["was"]) == ("12.0", "3", "1")
    assert (sync["decision"], sync["replicas"], sync["ready"]) == ("3", "3", "3")
    assert failed["s0-prometheus"] == "error"
    assert sync["message"].startswith("the HPA controller")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "+0s"), (750, "+12m30s"), (3661, "+1h01m01s"), (1795000000.9, "2026-11-18 11:06:40")],
)
def test_times_are_of_the_run_or_dates(seconds, text) -> None:
    assert moment(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(15, "15s"), (60, "1m00s"), (3600, "1h00m00s"), (7 * 86400, "7d"), (93784, "1d02h03m04s")],
)
def test_lengths_are_read_aloud(seconds, text) -> None:
    assert length(seconds) == text


def summary_of(found, end):
    tally = Tally(0.0, 1)
    for tick in found:
        tally.add(tick)
    return tally.summary(end)


def test_the_summary_is_one_line() -> None:
    found = summary_of(walk(a_spec(), UP_AND_DOWN, 600), 600)

    assert summary_line(found) == (
        "10m00s: 0.34 replica-hours, 2 scale events (1 up, 1 down), 1 flap, 1 to 3 replicas, "
        "21 polls and 40 syncs"
    )


def test_a_comparison_shows_both_and_the_difference() -> None:
    ours = summary_of(walk(a_spec(), UP_AND_DOWN, 600), 600)
    theirs = summary_of(walk(a_spec(max_replica_count=2), UP_AND_DOWN, 600), 600)

    lines = comparison(ours, theirs, ("a.yaml", "b.yaml")).split("\n")

    assert lines[0].split() == ["a.yaml", "b.yaml", "DIFFERENCE"]
    assert lines[1].split() == ["replica-hours", "0.34", "0.25", "-0.09", "(-25.6%)"]
    assert lines[-2].split() == ["peak", "replicas", "3", "2", "-1"]
    assert len({len(line) for line in lines}) == 1


@pytest.mark.parametrize(("name", "magic"), [("p.png", b"\x89PNG"), ("p.svg", b"<?xml")])
def test_a_picture_is_drawn(tmp_path, name, magic) -> None:
    pytest.importorskip("matplotlib")
    curves, other = Curves("one"), Curves("other")
    for tick in walk(a_spec(), metrics((0, 15), (20, None), (60, 0)), 400):
        curves.add(tick)
        other.add(tick)

    plot(curves, tmp_path / name, other=other)

    assert (tmp_path / name).read_bytes().startswith(magic)
    assert curves.failed["s0-prometheus"] == [30, 30, 45]
    with pytest.raises(InputError, match="cannot be written"):
        plot(curves, tmp_path / "no" / name)


def test_a_picture_needs_a_known_suffix_and_matplotlib(tmp_path, monkeypatch) -> None:
    with pytest.raises(InputError, match=r"written as \.png or \.svg"):
        check_plot_file(tmp_path / "p.pdf")
    monkeypatch.setattr("stoker.reports.plot.find_spec", lambda _: None)
    with pytest.raises(MachineError) as error:
        check_plot_file(tmp_path / "p.png")
    assert "stoker[report]" in error.value.hint
