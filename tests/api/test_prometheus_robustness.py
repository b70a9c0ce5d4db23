"""Whatever is asked over HTTP: an answer, or an error of Prometheus' kinds; never a 500."""

from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stoker.api import prometheus
from stoker.api.prometheus import PrometheusApi
from stoker.clock import FixedClock
from stoker.metrics.sample import Labels
from stoker.metrics.storage import Storage
from stoker.promql.engine import Limits

NOW = 1_700_000_000.0
QUERIES = """
x x{a="1"} {__name__=~".+"} rate(x[5m]) sum by (a) (x) x[1m:1s] x[5m] "text" 1 -Inf sum( x{ ) [5m]
{} topk(NaN,x) count_values("",x) x{a=~"("} x@-1 x@1e99 label_replace(x,"\\xff","","","") info(x,{})
x+fill(1)y max_over_time(x[1y:1ms]) \x00 é histogram_quantile(2,x) x{a=~"(a+)+b"} quantile(1e9,x)
"""
WORDS = [*QUERIES.split(), "(" * 10_000 + "1" + ")" * 10_000, "", "x " * 30_000]
TIMES = ["", "0", "-1", "1e300", "NaN", "Inf", "2023-11-14T22:13:20Z", "1700000000.5", "5m", "no"]
PARAMS = st.fixed_dictionaries(
    {},
    optional={
        "query": st.lists(st.sampled_from(WORDS) | st.text(max_size=20), min_size=1, max_size=2),
        "match[]": st.lists(st.sampled_from(WORDS) | st.text(max_size=20), max_size=3),
        **{
            name: st.lists(st.sampled_from(TIMES), min_size=1, max_size=1)
            for name in ("time", "start", "end", "step", "timeout", "limit", "metric", "state")
        },
    },
)


@pytest.fixture(scope="module")
def api() -> PrometheusApi:
    storage = Storage()
    for t in range(0, 301, 15):
        for a in ("1", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaac"):
            storage.append(Labels({"__name__": "x", "a": a}), NOW - 300 + t, float(t))
    return PrometheusApi(storage, FixedClock(NOW), limits=Limits(max_samples=50_000, timeout=1.0))


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(
        ["query", "query_range", "series", "labels", "format_query", "metadata", "exemplars"]
    ),
    PARAMS,
)
def test_any_request_is_answered_or_refused(api, path, params):
    answer = asyncio.run(prometheus._respond(getattr(api, path), params))
    body = json.loads(answer.text, parse_constant=pytest.fail)
    if answer.status == 200:
        assert body["status"] == "success"
        return
    assert (answer.status, body["status"]) in {(400, "error"), (422, "error"), (503, "error")}
    assert body["errorType"] in {"bad_data", "execution", "timeout"}
    assert body["error"]
    assert len(answer.text) < 200_000


@settings(max_examples=200, deadline=None)
@given(PARAMS, st.text(max_size=10))
def test_any_federation_or_label_is_answered_or_refused(api, params, name):
    answer = asyncio.run(prometheus._respond(lambda asked: api.label_values(asked, name), params))
    assert answer.status in {200, 400, 422}
