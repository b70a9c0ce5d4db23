"""Real clients: the OpenAI SDK, curl, HTTP/1.0; TLS, IPv6 and Unix sockets."""

from __future__ import annotations

import asyncio
import json
import ssl

import openai
import pytest
import trustme
import yarl

from stoker.gateway.inbound import Inbound
from stoker.gateway.listen import (
    CertificateWatch,
    open_sockets,
    open_unix_socket,
    tls_context,
)
from stoker.gateway.policy import EndpointSpec

CHAT = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}


@pytest.fixture
def sdk(stack):
    def make(door, **options) -> openai.AsyncOpenAI:
        made = openai.AsyncOpenAI(base_url=door.url + "/v1", api_key="k", **options)
        stack.push_async_callback(made.close)
        return made

    return make


async def curl(*arguments: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        "curl", "-sS", *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    return process.returncode, output.decode()


async def test_the_sdk_chats(engine, gateway, sdk):
    answer = await sdk(await gateway(await engine())).chat.completions.create(**CHAT)
    assert answer.choices[0].message.content == "pod-1"
    assert answer.usage.completion_tokens == 7


async def test_the_sdk_streams(engine, gateway, sdk):
    stream = await sdk(await gateway(await engine())).chat.completions.create(**CHAT, stream=True)
    text = [c.choices[0].delta.content or "" async for c in stream if c.choices]
    assert "".join(text) == "Hi!"


async def test_the_blocking_sdk_chats_and_streams(engine, gateway):
    door = await gateway(await engine())

    def talk() -> str:
        with openai.OpenAI(base_url=door.url + "/v1", api_key="k") as client:
            whole = client.chat.completions.create(**CHAT).choices[0].message.content
            stream = client.chat.completions.create(**CHAT, stream=True)
            return whole + "".join(c.choices[0].delta.content or "" for c in stream if c.choices)

    assert await asyncio.to_thread(talk) == "pod-1Hi!"


async def test_the_sdk_lists_models_and_says_which_there_are(gateway, sdk):
    client = sdk(await gateway())
    assert [model.id async for model in client.models.list()] == ["m"]
    with pytest.raises(openai.NotFoundError, match="Models here: `m`"):
        await client.chat.completions.create(**CHAT | {"model": "gpt-9"})


async def test_the_sdk_waits_for_a_model_that_starts(engine, gateway, sdk, until):
    pod = await engine()
    door = await gateway()
    asked = asyncio.ensure_future(sdk(door).chat.completions.create(**CHAT))
    await until(lambda: door.held("m") == 1)
    door.set_backends("m", [pod.backend])
    assert (await asked).choices[0].message.content == "pod-1"


async def test_the_sdk_retries_what_it_is_told_to(engine, gateway, sdk, until):
    """429 with Retry-After: the SDK waits as long as it says and asks again."""
    door = await gateway(queue_requests=0, start_up=1.0)
    asked = asyncio.ensure_future(sdk(door, max_retries=2).chat.completions.create(**CHAT))
    await until(lambda: door.snapshot().models["m"].refused["queue_full"] == 1)
    door.set_backends("m", [(await engine()).backend])
    assert (await asked).choices[0].message.content == "pod-1"


async def test_the_sdk_is_told_of_a_replica_that_dies_in_a_stream(engine, gateway, sdk, events):
    pod = await engine()

    async def half(request, body):
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
        request.transport.write(head + b"Transfer-Encoding: chunked\r\n\r\n")
        piece = b"%x\r\n%b\r\n" % (len(events[1]), events[1])
        return await pod.write(piece)(request, body)

    pod.answer = half
    door = await gateway(pod)
    stream = await sdk(door).chat.completions.create(**CHAT, stream=True)
    first = await anext(stream)
    assert first.choices[0].delta.content == "Hi"
    with pytest.raises(openai.APIError, match="went away before the end"):
        await anext(stream)
    assert 'stoker_gateway_truncated_total{model="m"} 1' in door.page()


async def test_a_form_finds_its_model(engine, gateway, sdk):
    pod = await engine()
    pod.answer = pod.status(200)
    door = await gateway(pod)
    client = sdk(door)
    await client.audio.transcriptions.with_raw_response.create(
        model="alias", file=("a.wav", b"RIFF" * 100)
    )
    [(request, body)] = pod.requests
    assert request.path == "/v1/audio/transcriptions"
    assert b"RIFF" * 100 in body
    with pytest.raises(openai.NotFoundError):
        await client.audio.transcriptions.create(model="nope", file=("a.wav", b"RIFF"))


async def test_any_path_of_an_engine_passes_under_its_model(engine, gateway, client):
    pod = await engine()
    pod.answer = pod.status(200)
    door = await gateway(pod)
    door.set_models({"meta/llama": ["l"]})
    door.set_backends("meta/llama", [pod.backend])
    for path in ("meta/llama/v1/some/path?q=1", "meta%2Fllama/v1/some/path?q=1", "l/metrics"):
        async with client.get(yarl.URL(f"{door.url}/engines/{path}", encoded=True)) as answer:
            assert answer.status == 200
    seen = [request.path_qs for request, _ in pod.requests]
    assert seen == ["/v1/some/path?q=1", "/v1/some/path?q=1", "/metrics"]


async def test_clients_of_kserves_hugging_face_server_find_everything_below_openai(
    engine, gateway, client
):
    pod = await engine()
    pod.answer = pod.status(200)
    door = await gateway(pod)
    body = {"model": "m", "messages": []}
    async with client.post(f"{door.url}/openai/v1/chat/completions", json=body) as answer:
        assert answer.status == 200
    async with client.get(f"{door.url}/openai/v1/models") as answer:
        assert [one["id"] for one in (await answer.json())["data"]] == ["m"]
    async with client.get(f"{door.url}/openai/v2/models") as answer:
        assert answer.status == 404
    assert [request.path for request, _ in pod.requests] == ["/v1/chat/completions"]


async def test_a_head_request_has_no_body(engine, gateway, client):
    pod = await engine()
    pod.answer = pod.status(200)
    door = await gateway(pod)
    for _ in range(2):
        async with client.head(door.url + "/engines/m/v1/models") as answer:
            assert answer.status == 200
            assert await answer.read() == b""
    async with client.head(door.url + "/v1/models") as answer:
        assert (answer.status, await answer.read()) == (200, b"")


@pytest.mark.parametrize("status", [204, 304])
async def test_answers_without_a_body_end_with_their_head(status, engine, gateway, client):
    pod = await engine()
    pod.answer = pod.write(b"HTTP/1.1 %d X\r\nX-A: b\r\n\r\n" % status)
    door = await gateway(pod)
    async with client.get(door.url + "/engines/m/x") as answer:
        assert (answer.status, await answer.read()) == (status, b"")
        assert answer.headers["X-A"] == "b"


@pytest.mark.needs("curl")
@pytest.mark.parametrize("flags", [["--http1.0"], ["--http1.1"], ["-H", "Expect: 100-continue"]])
@pytest.mark.parametrize("stream", [False, True])
async def test_curl(flags, stream, engine, gateway, events):
    door = await gateway(await engine())
    body = json.dumps(CHAT | {"stream": stream})
    code, output = await curl("-i", *flags, "-d", body, door.url + "/v1/chat/completions")
    head, _, answer = output.rpartition("\r\n\r\n")
    assert code == 0
    assert "HTTP/1.1 200 OK" in head
    if stream:
        assert answer == b"".join(events).decode()
        assert ("Transfer-Encoding" in head) == (flags != ["--http1.0"])
    else:
        assert json.loads(answer)["usage"]["completion_tokens"] == 7


@pytest.mark.needs("curl")
async def test_http_1_0_keeps_a_connection_on_request(engine, gateway):
    door = await gateway(await engine())
    url = door.url + "/v1/models"
    code, output = await curl("-v", "--http1.0", "-H", "Connection: keep-alive", url, url)
    assert code == 0
    assert "using existing" in output.lower()


@pytest.mark.needs("curl")
async def test_tls_and_a_new_certificate_for_new_connections(engine, gateway, tmp_path):
    authority = trustme.CA()
    file, root = tmp_path / "cert.pem", tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(root)
    first = authority.issue_cert("localhost", common_name="first")
    first.private_key_and_cert_chain_pem.write_to_path(file)
    context = tls_context(file, None)
    watch = CertificateWatch(context, file, None)
    door = await gateway(await engine(), tls=context)
    url = f"https://localhost:{door.port}/version"
    code, output = await curl("-v", "--ipv4", "--cacert", str(root), url)
    assert code == 0, output
    assert "CN=first" in output
    troubles: list[str] = []
    file.write_text("no certificate")
    watch.look(troubles.append)
    assert len(troubles) == 1
    code, output = await curl("-v", "--ipv4", "--cacert", str(root), url)
    assert "CN=first" in output
    second = authority.issue_cert("localhost", common_name="second")
    second.private_key_and_cert_chain_pem.write_to_path(file)
    watch.look(troubles.append)
    code, output = await curl("-v", "--ipv4", "--cacert", str(root), url)
    assert code == 0
    assert "CN=second" in output
    assert len(troubles) == 1
    context.verify_mode = ssl.CERT_NONE


@pytest.mark.needs("curl")
async def test_ipv6_and_unix_sockets_on_both_sides(engine, gateway, tmp_path):
    pod = await engine()
    door = await gateway(pod)
    [six] = open_sockets("::1", 0, 1)
    port = six.getsockname()[1]
    path = tmp_path / "door.sock"
    servers = [
        await door.plane.sockets.listen(lambda: Inbound(door.plane), six, None),
        await door.plane.sockets.listen(lambda: Inbound(door.plane), open_unix_socket(path), None),
    ]
    body = json.dumps(CHAT)
    code, output = await curl("-g", "-d", body, f"http://[::1]:{port}/v1/chat/completions")
    assert (code, json.loads(output)["usage"]["completion_tokens"]) == (0, 7)
    through = ("--unix-socket", str(path), "-d", body, "http://x/v1/chat/completions")
    assert "completion_tokens" in (await curl(*through))[1]
    # The gateway's own socket as a replica of itself: a Unix socket upstream.
    door.set_models({"m": ["alias"], "again": []})
    door.set_backends("again", [EndpointSpec("itself", f"unix:{path}")])
    code, output = await curl(f"http://127.0.0.1:{door.port}/engines/again/v1/models")
    assert [card["id"] for card in json.loads(output)["data"]] == ["m", "again"]
    for server in servers:
        server.close()


@pytest.mark.parametrize("header", ["X-Session-Id", "X-User"])
async def test_a_session_stays_with_its_replica(header, engine, gateway, post):
    pods = [await engine(f"pod-{number}") for number in range(4)]
    door = await gateway(*pods)
    door.plane.session_header = header.lower().encode()
    for session in ("a", "b", "c", "d", "e", "f"):
        for _ in range(3):
            await post(door, headers={header: session}, user=session)
    homes: dict[str, set[str]] = {}
    for pod in pods:
        for _, body in pod.requests:
            homes.setdefault(json.loads(body)["user"], set()).add(pod.name)
    assert all(len(home) == 1 for home in homes.values())
    assert len(set.union(*homes.values())) > 1


async def test_prompts_that_begin_alike_share_a_replica(engine, gateway, post):
    pods = [await engine(f"pod-{number}") for number in range(4)]
    door = await gateway(*pods)
    door.plane.prefix_affinity = True
    for group in range(6):
        system = {"role": "system", "content": f"You are number {group}. " * 40}
        for number in range(3):
            turn = {"role": "user", "content": f"question {number}"}
            await post(door, messages=[system, turn], user=str(group))
    homes: dict[str, set[str]] = {}
    for pod in pods:
        for _, body in pod.requests:
            homes.setdefault(json.loads(body)["user"], set()).add(pod.name)
    assert all(len(home) == 1 for home in homes.values())
    assert len(set.union(*homes.values())) > 1
