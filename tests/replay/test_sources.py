"""Triggers other than prometheus and cron: known to the run, or recorded."""

from pathlib import Path

import pytest
from tests.replay.conftest import DEPLOYMENT, TINY, steady, traffic

from stoker.backtest.reading import read_metrics
from stoker.errors import InputError
from stoker.replay.document import notes_of
from stoker.replay.job import Job, begin
from stoker.replay.result import Judging
from stoker.replay.setup import DEFAULT_START, Setup, Spread
from stoker.replay.slo import DEFAULT, Slo
from stoker.replay.sources import Recording

pytestmark = pytest.mark.timeout(300)
EXAMPLES = Path(__file__).parents[2] / "examples"
PROMETHEUS = """  - type: prometheus
    metadata:
      serverAddress: http://prometheus.monitoring.svc:9090
      query: sum(vllm:num_requests_waiting{model_name="tiny-model"})
      threshold: "5"
"""


def job(file, setup=TINY, recording=None):
    judging = Judging(Slo.parse(DEFAULT), None, baselines=False)
    return Job(file, (), 0, setup, judging, recording=recording or Recording())


def with_trigger(file, text):
    return file((PROMETHEUS, text))


def recorded(tmp_path, text, name="", targets=None):
    path = tmp_path / "recorded.csv"
    path.write_text(text)
    metrics = read_metrics([f"{name}={path}" if name else str(path)])
    recording, start = Recording(metrics, targets or {}).from_run_start(None, DEFAULT_START)
    return recording, start


def readings(run, index=0):
    """Time on the run's clock and value of each reading."""
    return [
        (tick.time - run.setup.start, reading.value)
        for tick in run.ticks()
        for reading in tick.readings
        if reading.index == index
    ]


def up(run):
    return max(wanted for _, wanted, _ in run.models[0].timeline)


REDIS = """  - type: redis
    metadata: {address: "redis.default.svc:6379", listName: jobs, listLength: "10"}
"""


def test_a_recorded_column_answers_what_traffic_does_not_say(file, tmp_path):
    recording, start = recorded(tmp_path, "time,value\n0,0\n100,35\n200,0\n600,0\n")
    assert start == DEFAULT_START
    run = begin(job(with_trigger(file, REDIS), recording=recording), traffic(steady(1.0, 300)))
    found = readings(run)
    assert {value for time, value in found if time < 100} == {0.0}
    assert {value for time, value in found if 100 <= time < 200} == {35.0}
    assert up(run) == 4  # ceil(35 / 10)


def test_recorded_dates_say_when_the_run_begins(file, tmp_path):
    day = "2026-03-01T08"
    text = f"time,s0-redis\n{day}:00:00Z,0\n{day}:02:00Z,35\n{day}:10:00Z,0\n"
    recording, start = recorded(tmp_path, text)
    assert start == 1_772_352_000.0
    setup = Setup(profile="tiny", startup=Spread(20.0, 20.0), start=start)
    run = begin(job(with_trigger(file, REDIS), setup, recording), traffic(steady(1.0, 300)))
    found = readings(run)
    assert {value for time, value in found if time < 120} == {0.0}
    assert 35.0 in {value for _, value in found}


def test_without_a_column_the_way_out_is_named(file):
    with pytest.raises(InputError, match="traffic does not say what it reads") as caught:
        begin(job(with_trigger(file, REDIS)), traffic(steady(1.0, 10)))
    assert "--metrics s0-redis=FILE.csv" in (caught.value.hint or "")


def test_an_external_scaler_needs_its_target_too(file, tmp_path):
    external = """  - type: external
    metadata: {scalerAddress: "scaler.default.svc:9090"}
"""
    path = with_trigger(file, external)
    text = "time,value\n0,9\n600,9\n"
    with pytest.raises(InputError, match="does not say its target"):
        begin(job(path, recording=recorded(tmp_path, text)[0]), traffic(steady(1.0, 10)))
    recording, _ = recorded(tmp_path, text, targets={"s0-external": 3.0})
    run = begin(job(path, recording=recording), traffic(steady(1.0, 60)))
    for _ in run.ticks():
        pass
    assert up(run) == 3


def test_a_recorded_column_takes_the_place_of_a_query(file, tmp_path):
    recording, _ = recorded(tmp_path, "time,s0-prometheus\n0,12\n600,12\n")
    run = begin(job(file(), recording=recording), traffic(steady(1.0, 60)))
    assert {value for _, value in readings(run)} == {12.0}
    assert not run.queries  # nothing is scraped for nobody


BOTH = REDIS.replace("type: redis", "type: redis\n    name: queue") + PROMETHEUS.replace(
    "type: prometheus", "type: prometheus\n    name: waiting"
)


@pytest.mark.parametrize(
    ("column", "recorded_ones"),
    [("queue", {0}), ("waiting", {1}), ("value", {0}), ("queue,waiting", {0, 1})],
)
def test_a_column_answers_the_trigger_that_it_is_named_after_or_the_one_that_needs_it(
    file, tmp_path, column, recorded_ones
):
    cells = ",".join("7" for _ in column.split(","))
    recording, _ = recorded(tmp_path, f"time,{column}\n0,{cells}\n600,{cells}\n")
    if 0 not in recorded_ones:
        with pytest.raises(InputError, match=r"trigger 0 \(redis\)"):
            begin(job(with_trigger(file, BOTH), recording=recording), traffic(steady(1.0, 60)))
        return
    run = begin(job(with_trigger(file, BOTH), recording=recording), traffic(steady(1.0, 60)))
    told = [reading for tick in run.ticks() for reading in tick.readings]
    assert {r.index for r in told if r.value == 7.0} == recorded_ones
    assert {r.index for r in told} == {0, 1}
    assert run.unused == ()


def test_pods_are_counted_by_a_trigger_that_counts_pods(file):
    workload = """  - type: kubernetes-workload
    metadata: {podSelector: app=tiny, value: "0.5"}
"""
    run = begin(job(with_trigger(file, workload)), traffic(steady(1.0, 120)))
    found = [value for _, value in readings(run)]
    # a pod wants two, and two want four, which is the most
    assert found[0] == 1.0
    assert found[-1] == 4.0


def test_cpu_is_a_recorded_percentage_of_each_pod(file, tmp_path):
    cpu = """  - type: cpu
    metricType: Utilization
    metadata: {value: "50"}
"""
    deployment = DEPLOYMENT.replace(
        "resources: {limits: {", "resources: {requests: {cpu: 1}, limits: {cpu: 1, "
    )
    path = file((PROMETHEUS, cpu), deployment=deployment)
    recording, _ = recorded(tmp_path, "time,value\n0,90\n600,90\n")
    run = begin(job(path, recording=recording), traffic(steady(1.0, 300)))
    for _ in run.ticks():
        pass
    assert up(run) == 4  # 90 % of each pod, however many there are, is too much


def test_the_metrics_of_a_users_hpa_are_those_of_the_modelled_pods(tmp_path):
    hpa = """
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: tiny}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: tiny}
  minReplicas: 1
  maxReplicas: 3
  metrics:
  - type: Pods
    pods:
      metric: {name: vllm_num_requests_waiting}
      target: {type: AverageValue, averageValue: "2"}
"""
    path = tmp_path / "hpa.yaml"
    path.write_text(f"{DEPLOYMENT}---{hpa}")
    run = begin(job(str(path)), traffic(steady(16.0, 60, output=100)))
    assert max(value for _, value in readings(run)) > 2.0
    assert up(run) == 3


def test_a_trigger_of_the_addon_that_nobody_pushes_to_reads_zero_and_is_told(file):
    addon = """  - type: external
    metadata:
      scalerAddress: keda-otel-scaler.keda.svc:4318
      metricQuery: "sum(vllm:num_requests_running)"
      targetValue: "2"
"""
    one = job(with_trigger(file, addon))
    load = traffic(steady(8.0, 60))
    run = begin(one, load)
    assert {value for _, value in readings(run)} == {0.0}
    assert any("asks for what a collector pushes" in note for note in notes_of(run, one, load))


def test_columns_that_fit_nothing_or_end_too_early_are_told(file, tmp_path):
    recording, _ = recorded(tmp_path, "time,s0-redis,jobs\n0,0,1\n100,0,1\n")
    one = job(with_trigger(file, REDIS), recording=recording)
    load = traffic(steady(1.0, 301))
    run = begin(one, load)
    for _ in run.ticks():
        pass
    notes = notes_of(run, one, load)
    assert any("jobs answers no trigger" in note for note in notes)
    assert any("end 200 s before test" in note for note in notes)


@pytest.mark.parametrize("name", ["as-published-otel.yaml", "inference-service-otel.yaml"])
def test_what_kserves_collector_pushes_is_scraped_of_the_modelled_engines(name):
    load = traffic(steady(3.0, 300, output=200))
    run = begin(job(str(EXAMPLES / "03-kserve" / name), Setup()), load)
    ticks = list(run.ticks())
    told = [reading for tick in ticks for reading in tick.readings]
    assert all(reading.error is None for reading in told)
    assert max(reading.value for reading in told) >= 4.0
    assert up(run) > 1
    # it counts a series a pod that runs
    assert any(f"({up(run)} series)" in reading.answer for reading in told)
    assert run.unfed == []
