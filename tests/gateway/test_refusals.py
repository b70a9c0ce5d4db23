"""What the gateway answers itself: errors in the OpenAI shape, and its own pages."""

from __future__ import annotations

import json

import pytest

from stoker.gateway.stats import Histogram


def error(body: bytes) -> dict:
    return json.loads(body)["error"]


@pytest.mark.parametrize("name", ["nope", "M", "m ", "", "x" * 5000, '"}\n'])
async def test_an_unknown_model_gets_404_with_the_models_that_there_are(name, gateway, post):
    door = await gateway()
    status, body, _ = await post(door, model=name)
    assert status == 404
    assert error(body)["code"] == "model_not_found"
    assert "Models here: `m`." in error(body)["message"]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b"[]", "must be a JSON object"),
        (b'{"model": 7}', "`model` must be a string"),
        (b'{"model": ["m"]}', "`model` must be a string"),
    ],
    ids=["empty", "cut", "binary", "deep", "list", "number", "list-of-models"],
)
async def test_a_body_that_cannot_be_understood_gets_400(body, says, gateway, client):
    door = await gateway()
    async with client.post(door.url + "/v1/chat/completions", data=body) as answer:
        assert answer.status == 400
        assert says in error(await answer.read())["message"]
    assert "stoker_gateway_bad_requests_total 1" in door.page()


async def test_a_request_without_a_model_goes_to_the_only_one_or_gets_400(engine, gateway, client):
    pod = await engine()
    door = await gateway(pod)
    async with client.post(door.url + "/tokenize", json={"prompt": "x"}) as answer:
        assert answer.status == 200
    door.set_models({"m": [], "n": []})
    async with client.post(door.url + "/tokenize", json={"prompt": "x"}) as answer:
        assert answer.status == 400
        assert "`model` is missing. Models here: `m`, `n`." in error(await answer.read())["message"]


@pytest.mark.parametrize("chunked", [False, True], ids=["content-length", "chunked"])
async def test_a_body_that_is_too_long_gets_413(chunked, gateway, client):
    door = await gateway(max_body=1000)
    async with client.post(
        door.url + "/v1/chat/completions", data=b"x" * 1001, chunked=chunked or None
    ) as answer:
        assert answer.status == 413
        assert "longer than 1000 bytes" in error(await answer.read())["message"]


@pytest.mark.parametrize(
    ("method", "path", "code", "allow"),
    [
        ("GET", "/v1/chat/completions", 405, "POST"),
        ("POST", "/v1/models", 405, "GET, HEAD"),
        ("GET", "/", 404, None),
        ("POST", "/v1/nothing", 404, None),
        ("POST", "/sleep", 404, None),
        ("POST", "/abort_requests", 404, None),
        ("GET", "/v1/models/nope", 404, None),
    ],
)
async def test_paths_that_are_not_there_or_not_for_this_method(
    method, path, code, allow, engine, gateway, client
):
    pod = await engine()
    door = await gateway(pod)
    async with client.request(method, door.url + path) as answer:
        assert answer.status == code
        assert error(await answer.read())["type"] == "invalid_request_error"
        assert answer.headers.get("Allow") == allow
    assert pod.requests == []


async def test_models_are_listed_even_at_zero_replicas(engine, gateway, client):
    pod = await engine()
    door = await gateway()
    door.set_models({"meta/llama": ["llama"], "n": []})
    door.set_backends("n", [pod.backend])
    async with client.get(door.url + "/v1/models") as answer:
        cards = (await answer.json())["data"]
    assert [(c["id"], c["aliases"], c["ready_replicas"]) for c in cards] == [
        ("meta/llama", ["llama"], 0),
        ("n", [], 1),
    ]
    for name in ("meta/llama", "llama", "meta%2Fllama"):
        async with client.get(f"{door.url}/v1/models/{name}") as answer:
            assert (await answer.json())["id"] == "meta/llama"


async def test_health_and_version_answer_without_any_replica(gateway, client):
    door = await gateway()
    async with client.get(door.url + "/health") as answer:
        assert (answer.status, await answer.read()) == (200, b"")
    async with client.get(door.url + "/version") as answer:
        assert set(await answer.json()) == {"version"}


async def test_the_incoming_counter_exists_at_zero_and_counts_by_model_not_by_alias(
    engine, gateway, post, client
):
    pod = await engine()
    door = await gateway(pod)
    assert 'vllm:num_incoming_requests_total{model="m"} 0' in door.page()
    await post(door)
    await post(door, model="alias")
    async with client.get(door.url + "/metrics") as answer:
        page = await answer.text()
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert page == door.page()
    assert 'vllm:num_incoming_requests_total{model="m"} 2' in page
    assert f'vllm:healthy_pods_total{{server="{pod.backend.url}"}} 1' in page
    assert 'stoker_gateway_requests_total{model="m",code="200"} 2' in page


async def test_a_held_request_is_counted_as_incoming_before_there_is_a_replica(
    gateway, post, until
):
    door = await gateway()
    waiting = post(door)
    await until(lambda: door.held("m") == 1)
    assert 'vllm:num_incoming_requests_total{model="m"} 1' in door.page()
    await door.stop(0)
    await waiting


async def test_names_from_clients_never_become_labels(gateway, post):
    door = await gateway()
    for number in range(5):
        await post(door, model=f"made-up-{number}")
    assert "made-up" not in door.page()
    assert "stoker_gateway_unknown_model_total 5" in door.page()


async def test_no_metric_of_the_engines_is_exported_a_second_time(engine, gateway, post):
    pod = await engine()
    door = await gateway(pod)
    await post(door)
    families = {line.split()[2] for line in door.page().splitlines() if line.startswith("# TYPE")}
    assert {name for name in families if name.startswith("vllm:")} == {
        "vllm:num_incoming_requests_total",
        "vllm:healthy_pods_total",
    }


async def test_label_values_are_escaped(gateway):
    door = await gateway()
    door.set_models({'a"b\\c\nd': []})
    assert r'vllm:num_incoming_requests_total{model="a\"b\\c\nd"} 0' in door.page()


def test_a_histogram_is_cumulative_and_its_bounds_are_inclusive():
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 3.0):
        histogram.observe(value)
    assert list(histogram.lines("h", 'a="b"')) == [
        'h_bucket{a="b",le="1.0"} 2',
        'h_bucket{a="b",le="2.0"} 3',
        'h_bucket{a="b",le="+Inf"} 4',
        'h_sum{a="b"} 6.0',
        'h_count{a="b"} 4',
    ]
