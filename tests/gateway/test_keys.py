"""API keys: who may send, how much, to which models, and what nobody gets to see."""

from __future__ import annotations

import hashlib
import json
import os

import pytest

from stoker.errors import InputError
from stoker.gateway.access_log import AccessLog
from stoker.gateway.keys import Keys, read_keys
from stoker.gateway.openai import Refusal
from stoker.gateway.policy import Priority

FILE = """
keys:
- {name: team-a, key: sk-a, concurrency: 1}
- {name: team-b, key: sk-b, models: [other], priority: low}
- {name: ops, sha256: %s, admin: true}
""" % hashlib.sha256(b"sk-ops").hexdigest()  # noqa: UP031 - braces of YAML


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.fixture
def keys(tmp_path):
    path = tmp_path / "keys.yaml"
    path.write_text(FILE)
    return Keys(path)


@pytest.mark.parametrize("headers", [{}, bearer("sk-x"), bearer(""), {"Authorization": "Basic x"}])
async def test_without_a_key_there_is_nothing(headers, keys, engine, gateway, post):
    pod = await engine()
    door = await gateway(pod, keys=keys)
    status, body, answered = await post(door, headers=headers)
    assert status == 401
    assert json.loads(body)["error"]["code"] == "invalid_api_key"
    assert answered["WWW-Authenticate"] == "Bearer"
    assert pod.requests == []
    assert "stoker_gateway_unauthorized_total 1" in door.page()


@pytest.mark.parametrize("headers", [bearer("sk-a"), {"X-Api-Key": "sk-a"}], ids=["openai", "x"])
async def test_the_key_opens_and_goes_no_further(headers, keys, engine, gateway, post):
    pod = await engine()
    door = await gateway(pod, keys=keys)
    assert (await post(door, headers=headers))[0] == 200
    [(request, _)] = pod.requests
    assert not {"Authorization", "X-Api-Key"} & set(request.headers)


async def test_without_a_file_the_engines_own_key_passes(engine, gateway, post):
    pod = await engine()
    await post(await gateway(pod), headers=bearer("of-the-engine"))
    assert pod.requests[0][0].headers["Authorization"] == "Bearer of-the-engine"


async def test_a_key_has_its_models_and_sees_no_others(keys, engine, gateway, post, client):
    pod = await engine()
    door = await gateway(pod, keys=keys)
    door.set_models({"m": [], "other": []})
    status, body, _ = await post(door, headers=bearer("sk-b"))
    assert status == 404
    assert "`other`" in json.loads(body)["error"]["message"]
    assert "`m`." not in json.loads(body)["error"]["message"]
    async with client.get(door.url + "/v1/models", headers=bearer("sk-b")) as answer:
        assert [card["id"] for card in (await answer.json())["data"]] == ["other"]


async def test_concurrency_is_given_back_however_a_request_ends(keys, engine, gateway, post, until):
    pod = await engine()
    pod.gate.clear()
    door = await gateway(pod, keys=keys)
    running = post(door, headers=bearer("sk-a"))
    await until(lambda: len(pod.requests) == 1)
    status, body, headers = await post(door, headers=bearer("sk-a"))
    assert status == 429
    assert json.loads(body)["error"]["code"] == "concurrency_limit"
    assert headers["Retry-After"] == "1"
    running.cancel()  # the client goes
    await until(lambda: pod.cancelled == 1)
    pod.gate.set()
    assert (await post(door, headers=bearer("sk-a"), model="nope"))[0] == 404
    assert (await post(door, headers=bearer("sk-a")))[0] == 200


def test_requests_a_minute_are_a_bucket(tmp_path):
    path = tmp_path / "keys.yaml"
    path.write_text("keys: [{name: a, key: k, requestsPerMinute: 60}]")
    sender = Keys(path).sender(b"k")
    for _ in range(10):  # ten seconds' worth at once
        sender.begin(100.0)
    with pytest.raises(Refusal, match="60 requests a minute") as refused:
        sender.begin(100.0)
    assert refused.value.retry_after == 1
    sender.begin(101.0)
    with pytest.raises(Refusal):
        sender.begin(101.0)


async def test_a_path_that_administers_the_engine_takes_an_admins_key(
    keys, engine, gateway, client
):
    pod = await engine()
    pod.answer = pod.status(200)
    door = await gateway(pod, keys=keys)
    for key, status in (("sk-a", 403), ("sk-ops", 200)):
        async with client.post(door.url + "/engines/m/sleep", headers=bearer(key)) as answer:
            assert answer.status == status
    assert [request.path for request, _ in pod.requests] == ["/sleep"]


def test_a_changed_file_is_followed_and_a_broken_one_is_not(keys, caplog):
    path = keys._path
    path.write_text("keys: [{name: new, key: sk-new}]")
    keys.reload_if_changed(1e9)
    assert keys.sender(b"sk-new").name == "new"
    with pytest.raises(Refusal):
        keys.sender(b"sk-a")
    path.write_text("keys: [{name: new}]")
    keys.reload_if_changed(2e9)
    assert keys.sender(b"sk-new").name == "new"
    assert "`keys[0]` needs either `key` or `sha256`" in caplog.text


def test_a_secret_has_a_key_a_name(tmp_path):
    path = tmp_path / "secret.yaml"
    path.write_text("kind: Secret\ndata: {team-a: c2stYQ==}\nstringData: {team-b: sk-b}\n")
    found = read_keys(path)
    assert {sender.name for sender in found.values()} == {"team-a", "team-b"}
    assert found[hashlib.sha256(b"sk-a").digest()].name == "team-a"


def test_only_digests_stay_in_memory(keys):
    assert b"sk-a" not in repr(keys._senders).encode()
    assert keys.sender(b"sk-b").priority is Priority.LOW


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[]", "there is no list `keys`"),
        ("keys: [{key: a}]", "`keys\\[0\\]` needs a `name`"),
        ("keys: [{name: a, key: b, limit: 3}]", "`limit` is not known"),
        ("keys: [{name: a, key: b}, {name: c, key: b}]", "the key of another entry"),
        ("keys: [{name: a, sha256: xyz}]", "64 hexadecimal digits"),
        ("keys: [{name: a, key: b, concurrency: 0}]", "`concurrency` is 0, must be a number above"),
        ("keys: [{name: a, key: b, priority: high}]", "must be normal or low"),
        ("keys: [", "cannot read the API keys"),
    ],
)
def test_what_is_wrong_in_the_file_is_said(text, words, tmp_path):
    path = tmp_path / "keys.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=words):
        read_keys(path)


async def test_the_access_log_has_neither_bodies_nor_keys(keys, engine, gateway, post, tmp_path):
    path = tmp_path / "access.jsonl"
    log = AccessLog(path, 0.0)
    pod = await engine()
    door = await gateway(pod, keys=keys, access_log=log)
    headers = {**bearer("sk-a"), "X-Request-Id": "r-1"}
    await post(door, "/v1/chat/completions?x=sk-query", headers=headers, messages=["secret"])
    await post(door, headers=bearer("sk-wrong"))
    log.flush()
    text = path.read_text()
    assert not {"sk-a", "sk-wrong", "sk-query", "secret"} & {
        word for word in ("sk-a", "sk-wrong", "sk-query", "secret") if word in text
    }
    served, refused = map(json.loads, text.splitlines())
    assert served["request_id"] == "r-1"
    assert (served["status"], served["model"], served["key"]) == (200, "m", "team-a")
    assert served["replica"] == "pod-1"
    assert served["bytes_out"] > 0
    assert (refused["status"], refused["key"]) == (401, None)
    os.rename(path, tmp_path / "access.1")  # noqa: PTH104 - as logrotate does
    await post(door, headers=bearer("sk-a"))
    log.flush()
    assert len(path.read_text().splitlines()) == 1
