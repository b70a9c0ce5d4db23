"""What is scraped in a replay is what the simulated server would have shown."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stoker.engines.metrics_page import MetricsPage
from stoker.metrics.exposition import PageParser
from stoker.metrics.sample import METRIC_NAME
from stoker.promql.parsing import parse
from stoker.replay.exposition import GAP_BUCKETS, Demand, EnginePage, Observer
from stoker.simulator.engine import Engine, Limits, Request
from stoker.simulator.fleet.fleet import Fleet, Server
from stoker.simulator.profiles import PROFILES
from stoker.traces import Arrivals

pytestmark = pytest.mark.timeout(300)
LIMITS = Limits(6, 120, 400, 60)
EVERYTHING = Demand(None)


def page_at(requests, until, patience=math.inf):
    """Series of the real page at *until*: the step-by-step engine behind it."""
    engine = Engine(PROFILES["tiny"], LIMITS)
    page = MetricsPage(engine, "m", {}, 0.0)

    def advance(time):
        while (event := engine.next_event()) is not None and event < time:
            page.produced(engine.advance(event))

    events = [(time, 0, i) for i, (time, *_) in enumerate(requests)]
    events += [(time + patience, 1, i) for i, (time, *_) in enumerate(requests)]
    for time, kind, i in sorted(events):
        if time >= until:
            break
        advance(time)
        if kind:
            end = engine.cancel(str(i), time)
            if end is not None:
                page.ended(str(i), end)
            continue
        _, prompt, output = requests[i]
        engine.submit(Request(str(i), prompt, output), time)
        page.arrived(str(i), output, time)
    advance(until)
    return {labels: value for labels, value, _ in PageParser("page").lines(page.text())}


def replayed_at(requests, until, patience=math.inf):
    times, prompts, outputs = zip(*requests, strict=True)
    fleet = Fleet(
        Arrivals.of(times, prompts, outputs),
        [Server(PROFILES["tiny"], LIMITS, gap_buckets=GAP_BUCKETS, client_timeout=patience)],
    )
    slot = fleet.add(0)
    fleet.ready(slot, 0.0, warm=True)
    page = EnginePage(slot, LIMITS, "m", EVERYTHING)
    observer = Observer(fleet, EVERYTHING)
    for stop in (until / 3, until):
        fleet.run(stop)
        observer.observe({slot: page})
    return dict(
        zip((tuple(sorted(x.items())) for x in page.labels()), page.values(fleet), strict=True)
    )


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(0.0, 4.0), st.integers(1, 150), st.integers(1, 60)),
        min_size=1,
        max_size=40,
    ).map(sorted),
    st.floats(0.5, 8.0),
    st.sampled_from([math.inf, 0.7312345, 2.5112345]),
)
def test_every_series_has_the_value_of_the_page(requests, until, patience):
    expected = page_at(requests, until, patience)
    found = replayed_at(requests, until, patience)
    assert len(found) > 200
    by_pairs = {labels.pairs: value for labels, value in expected.items()}
    for pairs, value in found.items():
        real = by_pairs[pairs]
        name = dict(pairs)[METRIC_NAME]
        if name.endswith("_bucket"):
            # a value that is a bound but for rounding may be counted on either side of it
            le = float(dict(pairs)["le"].replace("+Inf", "inf"))
            if math.isfinite(le) and "_tokens" not in name and "params" not in name:
                assert abs(value - real) <= 2, pairs
                continue
        assert value == pytest.approx(real, rel=1e-6, abs=1e-9), pairs


def test_only_what_queries_select_is_written():
    demand = Demand.of([parse('sum(rate(vllm:generation_tokens_total{a="b"}[1m])) / count(up)')])
    assert demand.names == {"vllm:generation_tokens_total", "up"}
    assert Demand.of([parse('{model_name="m"}')]).names is None


def test_names_that_nobody_shows_are_known_before_the_run():
    demand = Demand.of([parse("vllm:gpu_cache_usage_perc + vllm:num_requests_waiting")])
    assert demand.unknown() == ("vllm:gpu_cache_usage_perc",)
