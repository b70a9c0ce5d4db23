"""metrics-api: formats, authentication, and the endpoints of a Service."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from stoker.errors import InputError, StokerError
from stoker.scaling.spec import TriggerSpec
from stoker.triggers.base import TriggerContext
from stoker.triggers.connections import Pool
from stoker.triggers.metricsapi import MetricsApiTrigger
from stoker.triggers.metricsapi.values import value_in

from .conftest import Build, Certificates, HttpServer

PAGE = b"""\
# HELP backend_queue_size Total number of queued items
# TYPE backend_queue_size counter
backend_queue_size{queueName="zero"} 0
backend_queue_size{queueName="one",team="a"} 1
backend_queue_size{queueName="two"} 2e0
# TYPE latency histogram
latency_bucket{le="+Inf"} 4
latency_sum 9
latency_count 4
plain 7\r
odd NaN
last 3.5"""
XML = b"""<?xml version="1.0"?>
<stats xmlns="http://x"><queue name="a"><size>3</size></queue>
<queue name="b"><size>10Ki</size></queue><total> 4.5 </total></stats>"""
YAML = b"components:\n- {id: a, tasks: 32}\n- {id: b, tasks: '1k', up: true}\ncount: 2.5\n"


@pytest.mark.parametrize(
    ("format_", "body", "location", "value"),
    [
        ("json", b'{"a": {"b": 5}}', "a.b", 5.0),
        ("json", b'{"a": [1, 2, 3]}', "a.#", 3.0),
        ("json", b'{"a": "10Gi"}', "a", 10 * 2**30),
        ("json", b'{"a": "500m"}', "a", 0.5),
        ("json", b'{"a": -2.5e3}', "a", -2500.0),
        ("yaml", YAML, "components.0.tasks", 32.0),
        ("yaml", YAML, "components.1.tasks", 1000.0),
        ("yaml", YAML, "count", 2.5),
        ("xml", XML, "stats.queue.0.size", 3.0),
        ("xml", XML, "stats.queue.1.size", 10240.0),
        ("xml", XML, "stats.total", 4.5),
        ("prometheus", PAGE, "plain", 7.0),
        ("prometheus", PAGE, "last", 3.5),
        ("prometheus", PAGE, "odd", 0.0),
        ("prometheus", PAGE, "backend_queue_size", 0.0),
        ("prometheus", PAGE, 'backend_queue_size{queueName="two"}', 2.0),
        ("prometheus", PAGE, 'backend_queue_size{queueName="one", team="a"}', 1.0),
        # only equality is looked at, whatever the sign says
        ("prometheus", PAGE, 'backend_queue_size{queueName!="two"}', 2.0),
    ],
)
def test_a_number_is_found(format_: str, body: bytes, location: str, value: float) -> None:
    assert value_in(body, location, format_) == value


@pytest.mark.parametrize(
    ("format_", "body", "location", "words"),
    [
        ("json", b'{"a": null}', "a", "representing a Quantity got: 'Null'"),
        ("json", b'{"a": true}', "a", "got: 'True'"),
        ("json", b'{"a": []}', "a", "got: 'JSON'"),
        ("json", b'{"a": "ten"}', "a", "got: 'ten'"),
        ("json", b"{}", "a.b", "got: 'Null'"),
        ("json", b"<html>", "a", "got: 'Null'"),
        ("json", b'{"a": 1}', "@this", "got: 'Null'"),
        ("yaml", b"a: [", "a", "yaml: while parsing"),
        ("yaml", YAML, "components.7.tasks", "index '7' out of range"),
        ("yaml", YAML, "components.1.up", "got: 'True'"),
        ("yaml", YAML, "nothing", "key 'nothing' not found in path 'nothing'"),
        ("xml", b"<a", "a", "XML syntax error"),
        ("xml", XML, "stats.none", "key 'none' not found"),
        ("xml", b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "a", "XML with entities"),
        ("prometheus", PAGE, "none", "metric 'none' not found"),
        ("prometheus", PAGE, 'plain{a="b"}', 'value plain{a="b"} not found'),
        ("prometheus", PAGE, "latency_bucket", "metric 'latency_bucket' not found"),
        ("prometheus", PAGE, "sum(plain)", "is no selector"),
        ("prometheus", PAGE, "{{", "parse error"),
        ("prometheus", b"a b c d", "a", "prometheus format parsing error"),
        ("json", b"[" * 100_000, "a", ""),
    ],
)
def test_no_number_is_an_error(format_: str, body: bytes, location: str, words: str) -> None:
    with pytest.raises(StokerError) as caught:
        value_in(body, location, format_)

    assert words in caught.value.message


@given(st.binary(max_size=60), st.sampled_from(["json", "xml", "yaml", "prometheus"]))
def test_no_answer_breaks_it(body: bytes, format_: str) -> None:
    with contextlib.suppress(StokerError):
        assert isinstance(value_in(body, "a", format_), float)


def ask(build: Build, server: HttpServer, **more: Any) -> Any:
    auth = more.pop("auth", {})
    path = more.pop("path", "/m?x=1")
    given = {"url": server.url + path, "valueLocation": "a.b", "targetValue": "5", **more}
    return build("metrics-api", auth=auth, **given)


async def test_a_value_with_its_name_and_its_activity(
    http_server: HttpServer, build: Build
) -> None:
    http_server.handler = lambda _: web.json_response({"a": {"b": 7}})

    reading = await ask(build, http_server, activationTargetValue="7").read(0.0)

    assert (reading.value, reading.target, reading.active) == (7.0, 5.0, False)
    assert reading.metric_name == "s0-metric-api-a-b"
    assert http_server.requests[0].path_qs == "/m?x=1"


@pytest.mark.parametrize(
    ("metadata", "auth", "header", "path"),
    [
        ({"authMode": "bearer"}, {"token": "t"}, ("Authorization", "Bearer t"), "/m?x=1"),
        (
            {"authModes": "basic"},
            {"username": "u", "password": "p"},
            ("Authorization", "Basic dTpw"),
            "/m?x=1",
        ),
        ({"authMode": "apiKey"}, {"apiKey": "k"}, ("X-API-KEY", "k"), "/m?x=1"),
        (
            {"authMode": "apiKey", "keyParamName": "X-K"},
            {"apiKey": "k"},
            ("X-K", "k"),
            "/m?x=1",
        ),
        ({"authMode": "apiKey", "method": "query"}, {"apiKey": "k/"}, None, "/m?api_key=k%2F&x=1"),
        (
            {"authMode": "apiKey", "method": "query", "keyParamName": "z"},
            {"apiKey": "k"},
            None,
            "/m?x=1&z=k",
        ),
    ],
)
async def test_authentication(
    http_server: HttpServer, build: Build, metadata: Any, auth: Any, header: Any, path: str
) -> None:
    http_server.handler = lambda _: web.json_response({"a": {"b": 7}})

    reading = await ask(build, http_server, auth=auth, **metadata).read(0.0)

    assert reading.value == 7.0
    request = http_server.requests[0]
    assert request.path_qs == path
    if header:
        assert request.headers[header[0]] == header[1]
    assert "api_key" not in str(reading)


async def test_a_clients_certificate(
    mtls_server: HttpServer, build: Build, certificates: Certificates
) -> None:
    mtls_server.handler = lambda _: web.json_response({"a": {"b": 7}})
    auth = {"ca": certificates.ca, "cert": certificates.cert, "key": certificates.key}

    assert (await ask(build, mtls_server, auth=auth, authMode="tls").read(0.0)).value == 7.0
    for wrong, metadata in (
        ({"ca": certificates.ca}, {"authMode": "tls"}),
        ({**auth, "ca": ""}, {"authMode": "tls"}),
        (auth, {}),  # without authMode the certificates are left aside
    ):
        reading = await ask(build, mtls_server, auth=wrong, **metadata).read(0.0)
        assert reading.value is None
        assert "tls" in f"{reading.error} {reading.answer}", reading
        assert "PRIVATE" not in str(reading)


@pytest.mark.parametrize("status", [201, 204, 301, 404, 500])
async def test_only_200_counts(http_server: HttpServer, build: Build, status: int) -> None:
    http_server.handler = lambda _: web.Response(status=status, text='{"a": {"b": 7}}')

    reading = await ask(build, http_server).read(0.0)
    assert f"/m: api returned {status}" in (reading.error or "")


def trigger(urls: Sequence[str] | StokerError, **more: str) -> MetricsApiTrigger:
    def endpoints(name: str, namespace: str, port: int) -> Sequence[str]:
        assert (name, namespace, port) == ("front", "models", 8080)
        if isinstance(urls, StokerError):
            raise urls
        return urls

    metadata = {
        "url": "http://front.models.svc:8080/m?lost=1",
        "valueLocation": "v",
        "targetValue": "5",
        "aggregateFromKubeServiceEndpoints": "true",
        **more,
    }
    context = TriggerContext(lambda _: None, endpoints=endpoints, pool=Pool(), timeout=2.0)
    return MetricsApiTrigger(TriggerSpec(0, "metrics-api", metadata), context)


@pytest.mark.parametrize(
    ("aggregation", "value"), [("", 3.0), ("sum", 9.0), ("max", 6.0), ("min", 1.0)]
)
async def test_the_pods_behind_a_service_are_asked_and_those_that_fail_left_out(
    http_server: HttpServer, aggregation: str, value: float
) -> None:
    http_server.handler = lambda request: web.json_response({"v": int(request.path.split("/")[1])})
    urls = [f"{http_server.url}/{number}" for number in (1, 2, 6)]

    asked = trigger([*urls, "http://127.0.0.1:1/9"], aggregationType=aggregation)
    assert (await asked.read(0.0)).value == value
    assert sorted(request.path_qs for request in http_server.requests) == ["/1/m", "/2/m", "/6/m"]
    await asked.close()


@pytest.mark.parametrize(
    ("urls", "words"),
    [
        ([], "no endpoints URLs were given for the service name"),
        (["http://127.0.0.1:1"], "could not get any metric successfully from the 1 provided"),
        (StokerError("no such Service"), "no such Service"),
    ],
)
async def test_no_endpoint_is_an_error(urls: Any, words: str) -> None:
    asked = trigger(urls)
    reading = await asked.read(0.0)
    await asked.close()

    assert words in (reading.error or "")


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"targetValue": ""}, "no targetValue given in metadata"),
        ({"format": "csv"}, 'parameter "format" value "csv" must be one of [prometheus json'),
        ({"aggregationType": "last"}, "must be one of [average sum max min]"),
        ({"authMode": "bearer,basic"}, "must contain only one of [bearer basic oauth]"),
        ({"url": ""}, 'missing required parameter "url" in [triggerMetadata]'),
    ],
)
def test_what_keda_refuses_is_refused(metadata: dict[str, str], words: str) -> None:
    with pytest.raises(InputError) as caught:
        trigger([], **metadata)
    assert words in caught.value.message
