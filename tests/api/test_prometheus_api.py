"""Prometheus' HTTP API: shapes and error words that curl, Grafana and promtool rely on."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from stoker.api.prometheus import make_app
from stoker.clock import FixedClock
from stoker.metrics.exposition import Metadata
from stoker.metrics.sample import Labels
from stoker.metrics.scrape import Scraper
from stoker.metrics.scrapetarget import ScrapeTarget
from stoker.metrics.storage import Storage
from stoker.promql.engine import Limits

NOW = 1_700_000_000.0
Client = TestClient[web.Request, web.Application]


@pytest.fixture
def storage() -> Storage:
    storage = Storage()
    storage.metadata["x_total"] = Metadata("counter", "All of them.")
    for t in range(0, 301, 15):
        storage.append(Labels({"__name__": "x_total", "pod": "a"}), NOW - 300 + t, float(t))
        storage.append(Labels({"__name__": "x_total", "pod": "b"}), NOW - 300 + t, float(2 * t))
        storage.append(Labels({"__name__": "g", "kind": "inf"}), NOW - 300 + t, float("inf"))
    return storage


@pytest.fixture
async def client(storage: Storage) -> AsyncIterator[Client]:
    clock = FixedClock(NOW)
    scraper = Scraper(storage, clock)
    scraper.set_targets([ScrapeTarget("http://127.0.0.1:9/metrics", Labels({"job": "vllm"}))])
    async with TestClient(TestServer(make_app(storage, clock, scraper))) as client:
        yield client


async def get(client: Client, path: str, **params) -> tuple[int, dict[str, object]]:
    async with client.get(f"/api/v1/{path}", params=params) as answer:
        return answer.status, await answer.json()


async def test_instant_query_is_a_vector_with_values_as_text(client):
    async with client.get("/api/v1/query", params={"query": "sum(x_total)"}) as answer:
        assert await answer.text() == (
            '{"status":"success","data":{"resultType":"vector",'
            '"result":[{"metric":{},"value":[1700000000,"900"]}]}}'
        )


@pytest.mark.parametrize(
    ("query", "kind", "result"),
    [
        ("1.5", "scalar", [NOW, "1.5"]),
        ('"text"', "string", [NOW, "text"]),
        ("g", "vector", [{"metric": {"__name__": "g", "kind": "inf"}, "value": [NOW, "+Inf"]}]),
        (
            'x_total{pod="a"}[20s]',
            "matrix",
            [
                {
                    "metric": {"__name__": "x_total", "pod": "a"},
                    "values": [[NOW - 15, "285"], [NOW, "300"]],
                }
            ],
        ),
        ("nothing", "vector", []),
    ],
)
async def test_each_kind_of_value_has_its_shape(client, query, kind, result):
    status, body = await get(client, "query", query=query)
    assert status == 200
    assert body == {"status": "success", "data": {"resultType": kind, "result": result}}


@pytest.mark.parametrize(
    "time", ["1699999900.5", "2023-11-14T22:11:40.5Z", "2023-11-14T23:11:40.5+01:00"]
)
async def test_time_is_a_number_or_rfc3339(client, time):
    _, body = await get(client, "query", query="time()", time=time)
    assert body["data"]["result"] == [1699999900.5, "1699999900.5"]


async def test_form_is_read_like_the_address(client):
    form = {"query": "sum(x_total)", "time": str(NOW - 300)}
    async with client.post("/api/v1/query", data=form) as answer:
        body = await answer.json()
    assert body["data"]["result"][0]["value"] == [NOW - 300, "0"]


async def test_range_query_is_a_matrix(client):
    _, body = await get(
        client, "query_range", query="sum(x_total)", start=NOW - 30, end=NOW, step="15s"
    )
    assert body["data"] == {
        "resultType": "matrix",
        "result": [{"metric": {}, "values": [[NOW - 30, "810"], [NOW - 15, "855"], [NOW, "900"]]}],
    }


async def test_notes_come_as_infos_and_warnings(client):
    _, body = await get(client, "query", query="quantile(2, rate(g[1m]))")
    assert body["warnings"] == ["PromQL warning: quantile value should be between 0 and 1, got 2"]
    assert "might not be a counter" in body["infos"][0]


@pytest.mark.parametrize(
    ("path", "params", "status", "kind", "words"),
    [
        ("query", {}, 400, "bad_data", 'invalid parameter "query"'),
        ("query", {"query": "sum("}, 400, "bad_data", "unclosed left parenthesis"),
        (
            "query",
            {"query": "x", "time": "noon"},
            400,
            "bad_data",
            'cannot parse "noon" to a valid timestamp',
        ),
        ("query", {"query": "x", "time": "NaN"}, 400, "bad_data", "valid timestamp"),
        (
            "query",
            {"query": "x", "timeout": "soon"},
            400,
            "bad_data",
            'cannot parse "soon" to a valid duration',
        ),
        (
            "query",
            {"query": "x_total * on() x_total"},
            422,
            "execution",
            "many-to-many matching not allowed",
        ),
        (
            "query_range",
            {"query": "x", "start": "0", "end": "10", "step": "0"},
            400,
            "bad_data",
            "zero or negative",
        ),
        (
            "query_range",
            {"query": "x", "start": "10", "end": "0", "step": "1"},
            400,
            "bad_data",
            "end timestamp must not be before",
        ),
        (
            "query_range",
            {"query": "x", "start": "0", "end": "11001", "step": "1"},
            400,
            "bad_data",
            "11,000 points",
        ),
        (
            "query_range",
            {"query": "x[5m]", "start": "0", "end": "1", "step": "1"},
            422,
            "execution",
            "must be Scalar or instant Vector",
        ),
        ("query_range", {"query": "x", "end": "1", "step": "1"}, 400, "bad_data", '"start"'),
        ("series", {}, 400, "bad_data", "no match[] parameter provided"),
        ("series", {"match[]": "1"}, 400, "bad_data", "expected a series selector"),
        ("series", {"match[]": "x", "limit": "-1"}, 400, "bad_data", '"limit"'),
        ("labels", {"match[]": "{"}, 400, "bad_data", 'invalid parameter "match[]"'),
        ("format_query", {"query": "("}, 400, "bad_data", "parse error"),
    ],
)
async def test_errors_are_worded_as_prometheus_does(client, path, params, status, kind, words):
    got, body = await get(client, path, **params)
    assert (got, body["status"], body["errorType"]) == (status, "error", kind)
    assert words in body["error"]


async def test_query_that_takes_too_long_is_a_timeout(client):
    status, body = await get(client, "query", query="x_total", timeout="0")
    assert (status, body["errorType"]) == (503, "timeout")


async def test_query_over_its_limit_of_samples_is_refused(storage):
    app = make_app(storage, FixedClock(NOW), limits=Limits(max_samples=10))
    async with TestClient(TestServer(app)) as client:
        status, body = await get(client, "query", query="x_total[5m]")
    assert (status, body["errorType"]) == (422, "execution")
    assert "too many samples" in body["error"]


async def test_series_and_labels_are_listed(client):
    _, body = await get(client, "series", **{"match[]": "x_total"})
    assert body["data"] == [
        {"__name__": "x_total", "pod": "a"},
        {"__name__": "x_total", "pod": "b"},
    ]
    assert (await get(client, "labels"))[1]["data"] == ["__name__", "kind", "pod"]
    assert (await get(client, "labels", **{"match[]": "g"}))[1]["data"] == ["__name__", "kind"]
    assert (await get(client, "label/pod/values"))[1]["data"] == ["a", "b"]
    assert (await get(client, "label/pod/values", end="5", start="0"))[1]["data"] == []
    _, body = await get(client, "label/__name__/values", limit="1")
    assert body["data"] == ["g"]
    assert body["warnings"] == ["results truncated due to limit"]


async def test_metadata_targets_and_status(client):
    assert (await get(client, "metadata"))[1]["data"] == {
        "x_total": [{"type": "counter", "help": "All of them.", "unit": ""}]
    }
    assert (await get(client, "metadata", metric="other"))[1]["data"] == {}
    (target,) = (await get(client, "targets"))[1]["data"]["activeTargets"]
    assert (target["scrapePool"], target["health"], target["scrapeInterval"]) == (
        "vllm",
        "unknown",
        "5s",
    )
    assert (await get(client, "targets", state="dropped"))[1]["data"]["activeTargets"] == []
    assert (await get(client, "status/buildinfo"))[1]["data"]["version"].startswith("3.")
    assert (await get(client, "status/runtimeinfo"))[1]["data"]["timeSeriesCount"] == 3


async def test_query_is_formatted(client):
    _, body = await get(client, "format_query", query="sum(x)by(a)")
    assert body["data"] == "sum by (a) (x)"


@pytest.mark.parametrize("path", ["/-/healthy", "/-/ready"])
async def test_health(client, path):
    async with client.get(path) as answer:
        assert answer.status == 200


async def test_federation_is_a_page_of_the_newest_samples(client):
    async with client.get("/federate", params={"match[]": '{__name__=~"x.*|g"}'}) as answer:
        assert answer.content_type == "text/plain"
        assert await answer.text() == (
            "# TYPE g untyped\n"
            'g{kind="inf"} +Inf 1700000000000\n'
            "# TYPE x_total counter\n"
            'x_total{pod="a"} 300 1700000000000\n'
            'x_total{pod="b"} 600 1700000000000\n'
        )
    async with client.get("/federate", params={"match[]": "("}) as answer:
        assert answer.status == 400


async def test_answers_are_json_that_has_no_nan(client):
    async with client.get("/api/v1/query", params={"query": "g - g"}) as answer:
        body = json.loads(await answer.text(), parse_constant=pytest.fail)
    assert body["data"]["result"][0]["value"][1] == "NaN"
