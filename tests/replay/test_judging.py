"""SLOs, percentiles, baselines, settings and recommendations."""

import math
import random

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from tests.replay.conftest import job, steady, traffic

from stoker.errors import InputError
from stoker.replay.baselines import Need, _without_lulls, clairvoyant, need, static, steps
from stoker.replay.document import document
from stoker.replay.job import begin, execute, execute_all, seeds
from stoker.replay.outcome import Following, Gaps, Percentiles
from stoker.replay.recommend import recommendation
from stoker.replay.setup import Spread, parse_startup
from stoker.replay.slo import Slo
from stoker.replay.sweep import Setting, combinations, edited, label
from stoker.simulator.fleet.counting import FINE_BOUNDS

pytestmark = pytest.mark.timeout(300)

# -- promises ------------------------------------------------------------------------------------


def test_an_slo_is_read_as_it_is_written():
    slo = Slo.parse("ttft_p95<2s, itl_p99.9 < 50ms,e2e_max<1m")
    assert [(c.measure, c.percent, c.limit) for c in slo.conditions] == [
        ("ttft", 95.0, 2.0),
        ("itl", 99.9, 0.05),
        ("e2e", 100.0, 60.0),
    ]
    assert slo.text == "ttft_p95<2s,itl_p99.9<50ms,e2e_max<1m"
    assert slo.limit("itl") == 0.05
    assert Slo.parse("ttft_p50<1s,ttft_p99<4s").limit("ttft") == 1.0


@pytest.mark.parametrize("text", ["", "ttft<2s", "ttft_p95>2s", "ttft_p0<2s", "speed_p95<1s"])
def test_what_is_no_slo_is_refused(text):
    with pytest.raises(InputError):
        Slo.parse(text)


def test_failed_requests_miss_every_promise(file):
    long = traffic(steady(1.0, 8), steady(1.0, 2, prompt=5000, begin=8.0))
    found = execute(job(file(), slo="e2e_p50<10s,e2e_p95<10s"), long)[0]
    assert found["slo_attainment"] == pytest.approx(0.8)
    assert [row["met"] for row in found["slo"]] == [True, False]
    assert found["slo"][1]["value"] is None
    assert not found["slo_met"]


def test_percentiles_are_those_of_numpy_and_nothing_has_none():
    values = np.random.default_rng(0).exponential(1.0, 1000)
    found = Percentiles.of(values)
    assert (found.p50, found.p99) == tuple(np.percentile(values, [50, 99]))
    assert Percentiles.of(np.zeros(0)).p50 is None


@given(st.lists(st.floats(1e-3, 100.0), min_size=1, max_size=200), st.sampled_from([50, 95, 99]))
def test_gaps_are_counted_to_less_than_a_percent(values, percent):
    bounds = FINE_BOUNDS
    counts = np.bincount(np.searchsorted(bounds, values, "left"), minlength=len(bounds) + 1)
    found = Gaps(counts, bounds, sum(values)).percentile(percent)
    exact = np.percentile(values, percent, method="inverted_cdf")
    assert found == pytest.approx(exact, rel=0.009)


def test_following_measures_the_areas_between_two_lines():
    ready = [(0.0, 1, 1), (10.0, 3, 1), (30.0, 3, 3)]
    needed = [(0.0, 1), (12.0, 2), (40.0, 1)]
    found = Following.of(ready, needed, 60.0)
    assert found.under == pytest.approx(18.0)  # one too few from 12 s to 30 s
    assert found.over == pytest.approx(10.0 + 2 * 20.0)
    assert found.reactions == (18.0,)


# -- baselines -----------------------------------------------------------------------------------

SLO = Slo.parse("ttft_p95<1s")


def test_the_need_is_the_smallest_fleet_that_serves_a_minute(file):
    calm, busy = steady(1.0, 120), steady(16.0, 120, output=60, begin=120.0)
    run = begin(job(file()), traffic(calm, busy, steady(1.0, 120, begin=240.0)))
    engine = run.models[0].engine
    found = need(run.arrivals, engine, SLO)
    assert found.enough
    assert found.replicas[[0, 1, 5]].tolist() == [1, 1, 1]
    most = int(found.replicas.max())
    assert most > 1
    # one less does not serve the busy minutes as promised, as many do
    for replicas, is_enough in ((most - 1, False), (most, True)):
        fleet, _ = static(run.arrivals, engine, replicas)
        waits = fleet.state.times[120:2040, 3] - fleet.state.times[120:2040, 0]
        assert (np.percentile(waits, 95) < 1.0) == is_enough


def test_the_clairvoyant_pays_for_starts_and_keeps_its_promise(file):
    calm, busy = steady(1.0, 300), steady(16.0, 120, output=60, begin=300.0)
    run = begin(job(file()), traffic(calm, busy, steady(1.0, 300, begin=420.0)))
    engine = run.models[0].engine
    found = clairvoyant(run.arrivals, engine, SLO, need(run.arrivals, engine, SLO))
    assert found.is_bound
    assert found.attainment > 0.99
    most = max(replicas for _, replicas in found.timeline)
    # the crowd for two minutes and its starts, one for the rest; never all for the whole time
    assert found.end + 20.0 < found.replica_seconds < most * found.end
    extra = found.replica_seconds - found.end - 20.0
    assert extra >= (most - 1) * (120.0 + 20.0) * 0.99


def test_a_lull_shorter_than_a_start_is_filled():
    needed = Need(np.array([2, 1, 2, 1, 1, 1, 2]), enough=True)
    assert _without_lulls(needed.replicas, 2) == [2, 2, 2, 1, 1, 1, 2]
    assert steps([2, 2, 1]) == [(0.0, 2), (120.0, 1)]


def test_an_autoscaler_is_never_cheaper_than_the_clairvoyant_at_the_same_promise(file):
    load = traffic(
        steady(1.0, 300), steady(16.0, 200, output=60, begin=300.0), steady(1.0, 300, begin=500.0)
    )
    found = execute(job(file(), slo="ttft_p95<1s", baselines=True), load)
    own, bound = found[0], next(run for run in found if run["kind"] == "bound")
    assert [run["name"] for run in found[1:]] == ["static at peak", "static at mean", "clairvoyant"]
    assert bound["slo_attainment"] >= own["slo_attainment"]
    assert own["following"]["under_replica_seconds"] > 0


# -- settings ------------------------------------------------------------------------------------

DOCUMENT = """
spec:
  pollingInterval: 15
  triggers:
  - metadata: {threshold: "5", query: a}
  - metadata: {threshold: "7", query: b}
"""


def changed(path, value):
    text = edited([("so.yaml", DOCUMENT)], [(path, value)]).read()
    return yaml.safe_load(text)["spec"]


def test_a_setting_is_found_by_its_end():
    assert changed("pollingInterval", 5)["pollingInterval"] == 5
    assert changed("triggers[1].metadata.threshold", 9)["triggers"][1]["metadata"] == {
        "threshold": "9",  # a string, as it was
        "query": "b",
    }


def test_a_setting_that_is_not_there_is_made_where_its_beginning_is():
    assert changed("spec.cooldownPeriod", 60)["cooldownPeriod"] == 60
    assert changed("spec.fallback.replicas", 2)["fallback"] == {"replicas": 2}


@pytest.mark.parametrize(
    ("path", "why"), [("threshold", "2 settings"), ("no.such.thing", "no such setting")]
)
def test_a_path_that_is_not_clear_is_refused(path, why):
    with pytest.raises(InputError, match=why):
        changed(path, 1)


def test_all_values_are_tried_with_all_others():
    settings = [Setting.parse("a.b=1,2"), Setting.parse("c=x")]
    found = combinations(settings)
    assert found == [(("a.b", 1), ("c", "x")), (("a.b", 2), ("c", "x"))]
    assert label(found[0]) == "b=1 c=x"


def test_runs_in_other_processes_are_the_same(file):
    path, load = file(), traffic(steady(12.0, 60, output=100))
    jobs = [job(path, combination=(("threshold", value),)) for value in (3, 9)]
    alone = [execute(one, load) for one in jobs]
    assert list(execute_all(jobs, [load], 2)) == alone
    assert alone[0][0]["settings"] == {"threshold": 3}


# -- recommendations -----------------------------------------------------------------------------


def test_the_cheapest_that_keeps_the_promise_every_time_is_recommended(file):
    path = file()
    load = traffic(steady(2.0, 300, output=60))
    jobs = [
        one
        for value in (1, 4)
        for one in seeds(job(path, combination=(("minReplicaCount", value),), slo="ttft_p95<1s"), 2)
    ]
    runs = [execute(one, load)[0] for one in jobs]
    whole = document(runs, jobs, [load], command="x", notes=[])
    told = recommendation(whole, jobs)
    cheap, dear = runs[0], runs[2]
    assert cheap["gpu_seconds"] < dear["gpu_seconds"]
    expected = "minReplicaCount=1" if cheap["slo_met"] else "minReplicaCount=4"
    assert f"recommended: {expected}" in told
    assert "2 seeds and 1 trace" in told
    assert len({run["name"] for run in whole["runs"]}) == 4


# -- spreads -------------------------------------------------------------------------------------


def test_a_spread_has_its_median_and_its_95th_percentile():
    numbers = random.Random(1)
    spread = Spread.parse("80s..3m20s")
    drawn = [spread.draw(numbers) for _ in range(4000)]
    assert np.median(drawn) == pytest.approx(80.0, rel=0.05)
    assert np.percentile(drawn, 95) == pytest.approx(200.0, rel=0.08)
    assert Spread.parse("1m30s").draw(numbers) == 90.0
    assert all(math.isclose(value, round(value, 3)) for value in drawn)


def test_phases_of_a_start_add_up():
    phases = parse_startup("weights=40s..60s, compile=25s,graphs=15s")
    assert str(phases) == "weights=40s..60s,compile=25s,graphs=15s"
    assert phases.median == 80.0
    weights = Spread.parse("40s..60s").draw(random.Random(3))
    assert phases.draw(random.Random(3)) == round(weights + 40.0, 3)
    assert parse_startup("80s..200s") == Spread(80.0, 200.0)


@pytest.mark.parametrize("text", ["weights=40s,25s", "=40s", "weights=", "a=1s,a=2s", "a=soon"])
def test_what_is_no_phase_is_refused(text):
    with pytest.raises(InputError):
        parse_startup(text)
