from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from stoker.api.views import ModelOverview, Overview
from stoker.ui.live import History, plain_line, render
from stoker.ui.sparkline import sparkline

pytestmark = pytest.mark.usefixtures("_utc")


def a_model(**fields):
    base = ModelOverview(
        model="llama3",
        deployment="vllm-llama3-deployment-vllm",
        scaled_object="vllm-llama3-scaledobject",
        wanted=3,
        ready=1,
        starting=2,
        pending=0,
        terminating=0,
        min_replicas=1,
        max_replicas=5,
        waiting=12.0,
        running=256.0,
        kv_cache=0.454,
        tokens_per_second=1234.5,
        ttft_p50=0.412,
        ttft_p95=2.26,
        held=0,
        gpus=3,
        paused=False,
        decision="3, was 1: SucceededRescale",
        decision_message="above target",
        decision_time=0.0,
        warning="",
    )
    return base | fields


def an_overview(*models, **fields):
    base = Overview(
        time=100.0,
        started_at=10.0,
        namespace="default",
        engine="simulated",
        gateway_url="http://127.0.0.1:8000",
        prometheus_url="http://127.0.0.1:9090",
        gpus_used=3,
        gpus_total=8,
        models=list(models),
        events=[],
    )
    return base | fields


def screen(overview, history=None, width=110):
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    console.print(render(overview, history or History()))
    return console.file.getvalue()


def test_the_screen_shows_each_number_with_its_unit():
    text = screen(an_overview(a_model()))
    for expected in (
        "GPUs 3/8",
        "up 90s",
        "1/3 ready, 2 starting",
        "45%",
        "1,234",
        "412 ms / 2.3 s",
        "1 to 5 replicas by vllm-llama3-scaledobject, 3 GPUs",
        "3, was 1: SucceededRescale, above target (00:00:00)",
    ):
        assert expected in text


def test_what_is_not_known_is_a_dash():
    model = a_model(waiting=None, kv_cache=None, ttft_p50=None, ttft_p95=None, decision="")
    text = screen(an_overview(model))
    assert "- / -" in text
    assert "decision" not in text


def test_a_model_with_fixed_replicas_says_so():
    model = a_model(scaled_object=None, min_replicas=None, max_replicas=None)
    assert "fixed replicas" in screen(an_overview(model))


def test_warnings_and_pauses_can_be_read_without_color():
    text = screen(an_overview(a_model(paused=True, warning="s0: query has two elements")))
    assert "PAUSED" in text
    assert "warning   s0: query has two elements" in text


def test_markup_in_names_is_shown_as_it_is():
    assert "[bold]m[/bold]" in screen(an_overview(a_model(model="[bold]m[/bold]")))


def test_the_newest_events_come_first():
    events = [
        {"time": 90.0 + n, "type": "Normal", "reason": f"R{n}", "object": "pod/a", "message": "m"}
        for n in range(9)
    ]
    text = screen(an_overview(a_model(), events=events))
    assert text.index("R8") < text.index("R7")
    assert "R2" not in text


def test_history_counts_what_waits_at_the_gateway_too():
    history = History(length=3)
    for waiting in (0, 1, 2, 4):
        history.add(an_overview(a_model(waiting=float(waiting), held=1)))
    name = a_model()["deployment"]
    assert history.waiting(name) == (2, 3, 5)
    assert history.ready(name) == (1, 1, 1)
    assert "▄▆█ 5" in screen(an_overview(a_model()), history)


@pytest.mark.parametrize(
    ("values", "top", "line"),
    [
        ([], None, ""),
        ([0, 0], None, "▁▁"),
        ([0, 1, 100], None, "▁▂█"),
        ([5, 10], 5, "██"),
        ([1, 5], 10, "▂▅"),
    ],
)
def test_only_zero_is_the_lowest_block(values, top, line):
    assert sparkline(values, top) == line


@given(st.lists(st.floats(min_value=0, max_value=1e9)))
def test_a_sparkline_has_a_block_for_each_value(values):
    assert len(sparkline(values)) == len(values)


def test_without_a_terminal_a_model_is_one_line():
    assert plain_line(a_model(held=2), 100.0) == (
        "00:01:40  llama3  1/3 ready, 2 starting  waiting 12  running 256  KV 45%  1,234 tok/s  "
        "TTFT 412 ms / 2.3 s  2 held  decision 3, was 1: SucceededRescale"
    )
