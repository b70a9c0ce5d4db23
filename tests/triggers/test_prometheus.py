"""The prometheus trigger on the embedded storage and on a real HTTP server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from stoker.errors import InputError, StokerError
from stoker.scaling.numbers import json_number
from stoker.scaling.observation import TriggerReading
from stoker.scaling.spec import TriggerSpec
from stoker.triggers.base import QueryAnswer, TriggerContext
from stoker.triggers.parameters import go_duration
from stoker.triggers.prometheus import PrometheusTrigger
from stoker.triggers.registry import build_trigger

METADATA = {"serverAddress": "http://prometheus:9090", "query": "sum(waiting)", "threshold": "5"}


def vector(*values: str) -> QueryAnswer:
    return QueryAnswer("vector", [{"metric": {}, "value": [1.0, v]} for v in values])


def trigger(answer: QueryAnswer | StokerError, **metadata: str) -> PrometheusTrigger:
    async def query(_: str, at: float) -> QueryAnswer:
        assert at == int(at), "KEDA asks for whole seconds"
        if isinstance(answer, StokerError):
            raise answer
        return answer

    context = TriggerContext(query_for=lambda _: query)
    return PrometheusTrigger(TriggerSpec(0, "prometheus", {**METADATA, **metadata}), context)


async def read(answer: QueryAnswer | StokerError, **metadata: str) -> TriggerReading:
    return await trigger(answer, **metadata).read(1000.7)


async def test_a_value_is_read_and_is_active_above_the_activation_threshold() -> None:
    reading = await read(vector("12.5"), activationThreshold="12.5")

    assert (reading.value, reading.target, reading.active) == (12.5, 5.0, False)
    assert (reading.metric_name, reading.source, reading.answer) == (
        "s0-prometheus",
        "sum(waiting)",
        "12.5",
    )


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(vector(), id="empty"),
        pytest.param(vector("NaN"), id="NaN"),
        pytest.param(vector("+Inf"), id="+Inf"),
        pytest.param(QueryAnswer("matrix", [{"metric": {}, "values": []}]), id="matrix"),
    ],
)
async def test_nothing_counts_as_zero_unless_nulls_are_not_ignored(answer: QueryAnswer) -> None:
    assert (await read(answer)).value == 0.0

    strict = await read(answer, ignoreNullValues="false")
    assert strict.value is None
    assert strict.error is not None


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (vector("1", "2"), "prometheus query sum(waiting) returned multiple elements"),
        (QueryAnswer("scalar", [1.0, "12"]), "json: cannot unmarshal number into Go struct"),
        (QueryAnswer("string", [1.0, "x"]), "json: cannot unmarshal number into Go struct"),
        (StokerError("out of order"), "out of order"),
    ],
    ids=["several", "scalar", "string", "failure"],
)
async def test_what_is_no_single_element_is_an_error(answer: Any, words: str) -> None:
    reading = await read(answer)

    assert reading.value is None
    assert not reading.active
    assert reading.error is not None
    assert reading.error.startswith(words)


@pytest.mark.parametrize("text", ["1e3", " 5 ", "99999999999999999999", "-1", "0.5"])
def test_accepts_the_thresholds_that_keda_accepts(text: str) -> None:
    assert trigger(vector(), threshold=text).parameters.threshold == float(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("+5", "'+' looking for beginning of value"),
        (".5", "'.' looking for beginning of value"),
        ("5.", "' ' after decimal point in numeric literal"),
        ("NaN", "'N' looking for beginning of value"),
        ("1_000", "'_' after top-level value"),
        ("0x10", "'x' after top-level value"),
        ("10Gi", "'G' after top-level value"),
        ("1e", "' ' in exponent of numeric literal"),
        ("1e400", "cannot unmarshal number 1e400 into Go value of type float64"),
    ],
)
def test_refuses_the_thresholds_that_keda_refuses(text: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        trigger(vector(), threshold=text)

    assert 'unable to set param "threshold"' in caught.value.message
    assert words in caught.value.message


def test_all_problems_of_the_metadata_are_told_at_once() -> None:
    with pytest.raises(InputError) as caught:
        trigger(vector(), query="  ", threshold="", ignoreNullValues="maybe")

    assert 'missing required parameter "query" in [triggerMetadata]' in caught.value.message
    assert 'missing required parameter "threshold" in [triggerMetadata]' in caught.value.message
    assert 'unable to parse boolean value "maybe"' in caught.value.message


def test_a_bad_header_is_refused_without_printing_the_credential() -> None:
    with pytest.raises(InputError) as caught:
        trigger(vector(), customHeaders="Authorization=Basic dXNlcjpwYXNzdw==")

    assert "Authorization" in caught.value.message
    assert "dXNl" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "seconds"), [("5s", 5.0), ("1m30s", 90.0), ("250", 0.25), ("1.5h", 5400.0)]
)
def test_durations_are_go_durations_or_milliseconds(text: str, seconds: float) -> None:
    assert go_duration(text) == seconds


@pytest.mark.parametrize("text", ["-1", "0.5", "five", "-3s"])
def test_other_durations_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        go_duration(text)


def test_null_is_a_zero_as_in_go() -> None:
    assert json_number("null") == 0.0


@pytest.fixture
async def server() -> AsyncIterator[tuple[str, dict[str, Any]]]:
    """A Prometheus that answers what the test sets, on a free port."""
    said: dict[str, Any] = {"status": 200, "requests": [], "body": None}

    async def query(request: web.Request) -> web.Response:
        said["requests"].append((request.raw_path, dict(request.headers)))
        if said["body"] is not None:
            return web.Response(status=said["status"], text=said["body"])
        result = [{"metric": {}, "value": [1000, "7"]}]
        data = {"resultType": "vector", "result": result}
        return web.json_response({"status": "success", "data": data}, status=said["status"])

    app = web.Application()
    app.router.add_get("/{tail:.*}", query)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    yield f"http://127.0.0.1:{port}", said
    await runner.cleanup()


async def ask(address: str, **metadata: str) -> TriggerReading:
    context = TriggerContext(query_for=lambda _: None, auth={"bearerToken": "secret"})
    given = {**METADATA, "serverAddress": address, **metadata}
    remote = build_trigger(TriggerSpec(0, "prometheus", given), context)
    try:
        return await remote.read(1000.9)
    finally:
        await remote.close()


async def test_a_remote_server_is_asked_in_kedas_own_words(server: Any) -> None:
    address, said = server

    reading = await ask(
        address,
        query='sum(x{a="b c"})',
        namespace="ns",
        queryParameters="k=v w",
        customHeaders="X-Scope = team",
        authModes="bearer",
    )

    assert reading.value == 7.0
    ((path, headers),) = said["requests"]
    assert path == (
        "/api/v1/query?query=sum%28x%7Ba%3D%22b+c%22%7D%29&time=1970-01-01T00:16:40Z"
        "&namespace=ns&k=v+w"
    )
    assert headers["X-Scope"] == "team"
    assert headers["Authorization"] == "Bearer secret"


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (500, "", "prometheus query api returned error. status: 500"),
        (200, "<html>", "invalid character '<' looking for beginning of value"),
    ],
)
async def test_bad_answers_are_errors(server: Any, status: int, body: str, words: str) -> None:
    address, said = server
    said.update(status=status, body=body)

    assert (await ask(address)).error == words


async def test_an_address_without_a_scheme_fails_when_it_is_asked() -> None:
    reading = await ask("127.0.0.1:9090")

    assert reading.error is not None
    assert "first path segment in URL cannot contain colon" in reading.error


@pytest.mark.parametrize(
    ("type_", "words", "hint"),
    [
        ("Prometheus", "no scaler found for type: Prometheus", "did you mean `prometheus`?"),
        ("kafka", "`kafka` is not supported yet", "supported: cpu, cron, "),
        ("zzz", "no scaler found for type: zzz", "supported: cpu, cron, "),
    ],
)
def test_other_types_are_refused_with_a_hint(type_: str, words: str, hint: str) -> None:
    with pytest.raises(InputError) as caught:
        build_trigger(TriggerSpec(0, type_, METADATA), TriggerContext(query_for=lambda _: None))

    assert words in caught.value.message
    assert caught.value.hint is not None
    assert hint in caught.value.hint


def test_a_misspelt_parameter_is_told_beside_the_one_that_is_missing():
    metadata = {"serverAddress": "http://p:9090", "query": "up", "thresholds": "5"}
    context = TriggerContext(query_for=lambda _: None)
    with pytest.raises(InputError, match="missing required parameter") as error:
        build_trigger(TriggerSpec(0, "prometheus", metadata), context)
    assert error.value.hint == "did you mean `threshold` where `thresholds` is written?"
