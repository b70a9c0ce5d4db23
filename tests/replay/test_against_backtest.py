"""What a replay decided on its series, a backtest decides on the same series."""

import pytest
from tests.replay.conftest import job, steady, traffic

from stoker.backtest import Metrics, Plan, ticks
from stoker.metrics.storage import Storage
from stoker.replay.job import begin
from stoker.replay.run import LATE

pytestmark = pytest.mark.timeout(300)

RATE = (
    'sum(vllm:num_requests_waiting{model_name="tiny-model"})',
    'sum(rate(vllm:generation_tokens_total{model_name="tiny-model"}[1m])) / 20',
)
P95 = (
    RATE[0],
    (
        "10 * histogram_quantile(0.95, "
        "sum by (le) (rate(vllm:time_to_first_token_seconds_bucket[2m])))"
    ),
)
IN_FLIGHT = (RATE[0], "sum(stoker_gateway_in_flight)")


def copied(storage: Storage) -> Storage:
    """Every sample, appended again in the order of time."""
    copy = Storage(retention=1e9)
    rows = [
        (time, data.labels, value)
        for data in storage.select((), 0.0, 4e9)
        for time, value in zip(data.times.tolist(), data.values.tolist(), strict=True)
    ]
    for time, labels, value in sorted(rows, key=lambda row: row[0]):
        copy.append(labels, time, value)
    return copy


@pytest.mark.parametrize(
    "query", [None, RATE, P95, IN_FLIGHT], ids=["gauge", "rate", "p95", "gateway"]
)
def test_decisions_are_equal(file, query):
    path = file() if query is None else file((query[0], query[1].replace('"', "'")))
    load = traffic(
        steady(1.0, 60),
        steady(14.0, 90, output=120, begin=60.0),
        steady(0.5, 300, begin=150.0),
    )
    run = begin(job(path), load)
    replayed = list(run.ticks())
    assert sum(tick.decision.changes for tick in replayed) >= 1
    start = run.setup.start
    plan = Plan(start, replayed[-1].time, 1, 0.0, run.setup.settings, late=LATE)
    metrics = Metrics(storage=copied(run.storage), span=(start, replayed[-1].time))
    again = list(ticks(run.models[0].spec, metrics, plan))
    assert len(again) == len(replayed) > 40
    for ours, theirs in zip(replayed, again, strict=True):
        assert (ours.time, ours.reader) == (theirs.time, theirs.reader)
        assert [r.value for r in ours.readings] == [r.value for r in theirs.readings]
        assert (ours.decision.was, ours.decision.replicas) == (
            theirs.decision.was,
            theirs.decision.replicas,
        )
