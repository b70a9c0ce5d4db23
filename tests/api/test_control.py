from __future__ import annotations

import asyncio
import json
import stat

import aiohttp
import pytest

from stoker.api.changes import Changes
from stoker.api.client import Client
from stoker.api.control import serve_control
from stoker.api.discovery import (
    Discovery,
    default_state_dir,
    read_discovery,
    remove_discovery,
    write_discovery,
)
from stoker.api.kinds import DEPLOYMENT, EVENT, POD, SCALED_OBJECT, ServerError, resolve
from stoker.errors import ConflictError, NotFoundError

TOKEN = "secret"


def an_object(name, kind="ScaledObject", **spec):
    uid = f"{kind}-{name}"
    return {
        "kind": kind,
        "metadata": {"name": name, "namespace": "default", "uid": uid},
        "spec": spec,
    }


class FakeRun:
    """A run of which only the objects are real."""

    def __init__(self):
        self.changes = Changes()
        self.found = {SCALED_OBJECT: [an_object("b"), an_object("a")], POD: []}
        self.calls = []
        self.asked_logs = None
        self.logs_end = asyncio.Event()

    def objects(self, kind):
        return list(self.found.get(kind, []))

    def ticks(self, name):
        if name != "a":
            raise NotFoundError("no")
        return []

    def overview(self):
        return {"time": float(self.changes.version), "models": []}

    async def logs(self, pod, *, follow, tail, previous):
        if pod != "p":
            raise POD.not_found(pod)
        self.asked_logs = (follow, tail, previous)
        yield b"one\n"
        if follow:
            await self.logs_end.wait()
        yield b"two\n"

    async def scale(self, kind, name, replicas):
        self.calls.append((kind, name, replicas))
        return an_object(name, "Deployment", replicas=replicas)

    async def annotate(self, kind, name, annotations):
        if name == "gone":
            raise NotFoundError("no")
        self.calls.append((kind, name, dict(annotations)))
        return an_object(name)


@pytest.fixture
async def served(tmp_path):
    run = FakeRun()
    server = await serve_control(run, TOKEN)
    write_discovery(tmp_path, Discovery(server.url, TOKEN, 1, "default"))
    yield run, Client.discover(tmp_path), server
    await server.close()


async def call(function, *args, **kwargs):
    """Run blocking code of the client beside the server."""
    return await asyncio.to_thread(function, *args, **kwargs)


async def test_objects_come_in_the_order_of_their_names(served):
    _, client, _ = served
    objects = await call(client.objects, SCALED_OBJECT)
    assert [found["metadata"]["name"] for found in objects] == ["a", "b"]


async def test_an_object_that_is_not_there_is_told_as_the_api_server_does(served, recorded_empty):
    _, client, _ = served
    with pytest.raises(ServerError) as refused:
        await call(client.get, SCALED_OBJECT, "nope")
    told = f"Error from server ({refused.value.reason}): {refused.value.message}\n"
    assert told == (recorded_empty / "notfound_so.stderr.txt").read_text()


async def test_without_the_token_nothing_is_told(served):
    _, _, server = served
    async with aiohttp.ClientSession() as session:
        for headers in ({}, {"Authorization": "Bearer wrong"}):
            async with session.get(f"{server.url}/objects/so", headers=headers) as answer:
                assert answer.status == 401


async def test_an_unknown_path_is_answered_with_a_status(served):
    _, _, server = served
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{server.url}/nothing", headers=headers) as answer,
    ):
        assert (answer.status, (await answer.json())["kind"]) == (404, "Status")


async def next_of(stream):
    return await asyncio.wait_for(call(next, stream, None), 5)


async def test_a_watch_tells_what_is_there_and_then_what_changes(served):
    run, client, _ = served
    watch = client.watch(SCALED_OBJECT)
    names = [(await next_of(watch))["object"]["metadata"]["name"] for _ in range(2)]
    assert names == ["a", "b"]
    assert (await next_of(watch))["type"] == "BOOKMARK"
    run.found[SCALED_OBJECT] = [an_object("a", replicas=2), an_object("c")]
    run.changes.notify()
    changes = [await next_of(watch) for _ in range(3)]
    told = {(change["type"], change["object"]["metadata"]["name"]) for change in changes}
    assert told == {("DELETED", "b"), ("MODIFIED", "a"), ("ADDED", "c")}
    watch.close()


async def test_a_change_that_is_not_seen_is_not_told(served):
    run, client, _ = served
    watch = client.watch(SCALED_OBJECT, "a")
    assert [(await next_of(watch))["type"] for _ in range(2)] == ["ADDED", "BOOKMARK"]
    run.found[SCALED_OBJECT].append(an_object("c"))
    run.changes.notify()  # about another object
    run.found[SCALED_OBJECT] = []
    run.changes.notify()
    assert (await next_of(watch))["type"] == "DELETED"
    watch.close()


async def test_a_watch_ends_when_the_run_ends(served):
    _, client, server = served
    watch = client.watch(SCALED_OBJECT)
    for _ in range(3):
        await next_of(watch)
    ended = asyncio.create_task(call(list, watch))
    await server.close()
    assert await asyncio.wait_for(ended, 5) == []


async def test_overviews_come_at_each_change(served):
    run, client, _ = served
    overviews = client.overviews()
    assert (await next_of(overviews))["time"] == 0
    run.changes.notify()
    assert (await next_of(overviews))["time"] == 1
    overviews.close()


async def test_logs_are_passed_on_as_they_come(served):
    run, client, _ = served
    logs = client.logs("p", follow=True, tail=5)
    assert await next_of(logs) == b"one\n"
    run.logs_end.set()
    assert await next_of(logs) == b"two\n"
    assert await next_of(logs) is None
    assert run.asked_logs == (True, 5, False)


async def test_logs_of_a_pod_that_is_not_there_are_an_error(served):
    _, client, _ = served
    with pytest.raises(ServerError, match='pods "q" not found'):
        await call(list, client.logs("q"))


async def test_ticks_of_an_unknown_scaled_object_are_an_error(served):
    _, client, _ = served
    assert await call(client.ticks, "a") == []
    with pytest.raises(ServerError, match=r'scaledobjects.keda.sh "x" not found'):
        await call(client.ticks, "x")


async def test_scale_and_annotate_reach_the_run(served):
    run, client, _ = served
    scaled = await call(client.scale, DEPLOYMENT, "d", 3)
    await call(client.annotate, SCALED_OBJECT, "a", {"x": "1", "y": None})
    assert scaled["spec"] == {"replicas": 3}
    assert run.calls == [(DEPLOYMENT, "d", 3), (SCALED_OBJECT, "a", {"x": "1", "y": None})]
    with pytest.raises(ServerError, match='"gone" not found'):
        await call(client.annotate, SCALED_OBJECT, "gone", {})


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b'{"kind": "deployments", "name": "d", "replicas": "3"}',
        b'{"kind": "deployments", "name": "d", "replicas": -1}',
        b'{"kind": "deployments", "replicas": true, "name": "d"}',
    ],
)
async def test_a_bad_request_changes_nothing(served, body):
    run, _, server = served
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{server.url}/scale", data=body, headers=headers) as answer,
    ):
        assert (answer.status, (await answer.json())["reason"]) == (400, "BadRequest")
    assert run.calls == []


async def test_a_taken_port_is_a_conflict(served):
    _, _, server = served
    port = int(server.url.rpartition(":")[2])
    with pytest.raises(ConflictError, match=f"cannot listen on 127.0.0.1:{port}"):
        await serve_control(FakeRun(), TOKEN, port)


async def test_after_the_run_the_client_says_that_nothing_runs(served):
    _, client, server = served
    await server.close()
    with pytest.raises(ConflictError, match="no Stoker is running") as told:
        await call(client.version)
    assert "stoker up FILE" in told.value.hint


@pytest.mark.looptime
async def test_a_waiter_gets_the_newest_version_only():
    changes = Changes()
    waiting = asyncio.create_task(changes.after(0))
    await asyncio.sleep(1)
    changes.notify()
    changes.notify()
    assert await waiting == 2
    assert await changes.after(1) == 2


def test_the_discovery_file_is_for_its_owner_only(tmp_path):
    written = Discovery("http://127.0.0.1:1", TOKEN, 7, "demo")
    path = write_discovery(tmp_path / "new", written)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_discovery(tmp_path / "new") == written
    remove_discovery(tmp_path / "new")
    remove_discovery(tmp_path / "new")
    with pytest.raises(ConflictError, match="no Stoker is running"):
        read_discovery(tmp_path / "new")


def test_a_broken_discovery_file_is_told_by_its_name(tmp_path):
    (tmp_path / "control.json").write_text(json.dumps({"url": "x"}))
    with pytest.raises(ConflictError, match=r"control\.json is not"):
        read_discovery(tmp_path)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"STOKER_STATE_DIR": "/s", "XDG_STATE_HOME": "/x"}, "/s"),
        ({"XDG_STATE_HOME": "/x"}, "/x/stoker"),
        ({"HOME": "/h"}, "/h/.local/state/stoker"),
    ],
)
def test_the_state_directory_follows_the_environment(monkeypatch, variables, expected):
    for name in ("STOKER_STATE_DIR", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert str(default_state_dir()) == expected


@pytest.mark.parametrize(
    "name",
    [
        "so",
        "ScaledObject",
        "scaledobjects",
        "scaledobjects.keda.sh",
        "scaledobject.v1alpha1.keda.sh",
    ],
)
def test_a_kind_has_many_names(name):
    assert resolve(name) is SCALED_OBJECT


def test_an_unknown_kind_is_told_as_kubectl_does_with_a_hint(recorded_empty):
    with pytest.raises(ServerError) as told:
        resolve("scaledobjekt")
    assert f"error: {told.value.message}\n" == (recorded_empty / "badtype.stderr.txt").read_text()
    assert told.value.hint == "did you mean `scaledobject`?"
    assert resolve("ev") is EVENT
