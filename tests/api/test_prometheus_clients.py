"""What real clients ask: Grafana's data source, promtool, and a Prometheus that reads and writes.

Grafana's requests are those that its Prometheus data source (version 11) makes: a form for queries,
the address for what is there. A real Grafana is not part of this.
"""

from __future__ import annotations

import socket
import subprocess
from asyncio import create_subprocess_exec, sleep, timeout, to_thread
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from stoker.api.prometheus import make_app
from stoker.clock import FixedClock, LoopClock
from stoker.metrics.exposition import Metadata
from stoker.metrics.sample import Labels, equals
from stoker.metrics.storage import Storage

NOW = 1_700_000_000.0
Client = TestClient[web.Request, web.Application]


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    storage = Storage()
    storage.metadata["x_total"] = Metadata("counter", "All of them.")
    for t in range(0, 301, 15):
        storage.append(Labels({"__name__": "x_total", "pod": "a"}), NOW - 300 + t, float(t))
        storage.append(Labels({"__name__": "x_total", "pod": "b"}), NOW - 300 + t, float(2 * t))
    storage.append(Labels({"__name__": "u", "a.b_c": "1"}), NOW, 1.0)
    async with TestClient(TestServer(make_app(storage, FixedClock(NOW)))) as client:
        yield client


async def data(client: Client, method: str, path: str, **params):
    how = {"data": params} if method == "POST" else {"params": params}
    async with client.request(method, f"/api/v1/{path}", **how) as answer:
        body = await answer.json()
        assert (answer.status, body["status"]) == (200, "success"), body
        return body["data"]


# -- Grafana -------------------------------------------------------------------------------------


async def test_grafana_tests_its_data_source(client):
    answer = await data(client, "POST", "query", query="1+1", time=str(NOW))
    assert answer == {"resultType": "scalar", "result": [NOW, "2"]}
    assert (await data(client, "GET", "status/buildinfo"))["version"].startswith("3.")
    assert await data(client, "GET", "rules") == {"groups": []}
    assert await data(client, "GET", "alerts") == {"alerts": []}


@pytest.mark.parametrize("step", ["15", "15s", "15.000", "0.25m"])
async def test_grafana_draws_a_panel(client, step):
    if step == "0.25m":  # no duration of Prometheus
        async with client.post("/api/v1/query_range", data={"step": step, "start": "1"}) as answer:
            assert answer.status == 400
        return
    asked = {
        "query": "sum by (pod) (rate(x_total[1m0s]))",
        "start": f"{NOW - 60:.3f}",
        "end": f"{NOW:.3f}",
        "step": step,
    }
    answer = await data(client, "POST", "query_range", **asked)
    assert answer["resultType"] == "matrix"
    assert [series["metric"] for series in answer["result"]] == [{"pod": "a"}, {"pod": "b"}]
    first = answer["result"][0]["values"]
    assert [t for t, _ in first] == [NOW - 60, NOW - 45, NOW - 30, NOW - 15, NOW]
    assert [float(value) for _, value in first] == pytest.approx([1] * 5)
    exemplars = {"query": asked["query"], "start": asked["start"], "end": asked["end"]}
    assert await data(client, "POST", "query_exemplars", **exemplars) == []
    assert await data(client, "GET", "query_exemplars", **exemplars) == []


async def test_grafana_fills_its_query_builder(client):
    window = {"start": f"{NOW - 3600:.0f}", "end": f"{NOW:.0f}"}
    names = await data(client, "GET", "label/__name__/values", **window)
    assert names == ["u", "x_total"]
    match = {"match[]": '{__name__="x_total"}', **window}
    assert await data(client, "POST", "labels", **match) == ["__name__", "pod"]
    assert await data(client, "GET", "labels", **match) == ["__name__", "pod"]
    assert await data(client, "GET", "label/pod/values", **match, limit="1") == ["a"]
    assert len(await data(client, "POST", "series", **match)) == 2
    assert await data(client, "GET", "metadata", limit="40000") == {
        "x_total": [{"type": "counter", "help": "All of them.", "unit": ""}]
    }
    assert await data(client, "GET", "label/U__a_2e_b__c/values", **window) == ["1"]


async def test_grafana_explains_a_query_that_fails(client):
    async with client.post("/api/v1/query_range", data={"query": "sum(", "start": "0"}) as answer:
        body = await answer.json()
    assert (answer.status, body["status"], body["errorType"]) == (400, "error", "bad_data")


# -- promtool ------------------------------------------------------------------------------------


@pytest.mark.needs("promtool")
@pytest.mark.parametrize(
    ("arguments", "server_at", "out"),
    [
        (["instant", "sum(x_total)", f"--time={NOW:.0f}"], 1, "{} => 900 @[1700000000]"),
        (["instant", "1.5", f"--time={NOW:.0f}"], 1, "scalar: 1.5 @[1700000000]"),
        (["instant", "x_total > 500", f"--time={NOW:.0f}"], 1, 'x_total{pod="b"} => 600 @['),
        (
            [
                "range",
                f"--start={NOW - 15:.0f}",
                f"--end={NOW:.0f}",
                "--step=15s",
                'x_total{pod="a"}',
            ],
            4,
            'x_total{pod="a"} =>\n285 @[1699999985]\n300 @[1700000000]',
        ),
        (
            ["series", '--match={pod="a"}', f"--start={NOW - 60:.0f}", f"--end={NOW:.0f}"],
            4,
            '{__name__="x_total", pod="a"}',
        ),
        (["labels", f"--start={NOW - 300:.0f}", f"--end={NOW:.0f}", "pod"], 3, "a\nb"),
    ],
)
async def test_promtool_queries_us(client, arguments, server_at, out):
    command = ["promtool", "query", *arguments]
    command.insert(server_at + 2, str(client.make_url("/")))
    done = await to_thread(subprocess.run, command, capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().startswith(out)


@pytest.mark.needs("promtool")
async def test_promtool_shows_our_errors(client):
    command = ["promtool", "query", "instant", str(client.make_url("/")), "sum("]
    done = await to_thread(subprocess.run, command, capture_output=True, text=True, timeout=20)
    assert done.returncode == 1
    assert "bad_data: " in done.stderr
    assert "parse error" in done.stderr


# -- a Prometheus that scrapes /federate and writes back -----------------------------------------

CONFIG = """
global: {{scrape_interval: 1s}}
scrape_configs:
- job_name: federation
  honor_labels: true
  metrics_path: /federate
  params: {{"match[]": ['{{__name__=~".+"}}']}}
  static_configs: [{{targets: ["127.0.0.1:{source}"]}}]
remote_write:
- url: http://127.0.0.1:{sink}/api/v1/write
  queue_config: {{batch_send_deadline: 200ms}}
"""


@pytest.mark.needs("prometheus")
async def test_prometheus_federates_from_us_and_writes_to_us(tmp_path: Path):
    pytest.importorskip("cramjam")
    clock = LoopClock()
    source, sink = Storage(), Storage()
    wanted = Labels({"__name__": "x", "pod": 'a"\\b', "job": "vllm"})
    async with (
        TestServer(make_app(source, clock)) as from_,
        TestServer(make_app(sink, clock)) as to,
    ):
        expected = wanted.with_label("instance", f"127.0.0.1:{from_.port}")
        config = CONFIG.format(source=from_.port, sink=to.port)
        (tmp_path / "prometheus.yml").write_text(config)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        with (tmp_path / "log").open("wb") as log:
            process = await create_subprocess_exec(
                "prometheus",
                f"--config.file={tmp_path}/prometheus.yml",
                f"--storage.tsdb.path={tmp_path}/data",
                f"--web.listen-address=127.0.0.1:{port}",
                stdout=log,
                stderr=log,
            )
            try:
                async with timeout(30):
                    while not sink.series(equals(__name__="x")):
                        assert process.returncode is None, (tmp_path / "log").read_text()
                        source.append(wanted, clock.now(), 1.5)
                        await sleep(0.1)
            finally:
                process.terminate()
                await process.wait()
    assert sink.series(equals(__name__="x")) == [expected]
    ((_, _, values),) = [
        (one.labels, one.times, one.values)
        for one in sink.select(equals(__name__="x"), 0, clock.now() + 60)
    ]
    assert values[0] == 1.5
    assert sink.series(equals(__name__="up", job="federation"))
