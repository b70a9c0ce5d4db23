"""HTTP for triggers: TLS, limits, slow drips, sources that come back, and shared sessions."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

import pytest
from aiohttp import web

from stoker.errors import StokerError
from stoker.triggers import http
from stoker.triggers.connections import Pool, PrivateFile, Tls
from stoker.triggers.http import HttpClient, without_password

from .conftest import Build, Certificates, HttpServer, serve

METADATA = {"query": "q", "threshold": "5"}
VECTOR = {"data": {"resultType": "vector", "result": [{"value": [0, "7"]}]}}


async def get(url: str, tls: Tls | None = None, timeout: float = 2.0) -> tuple[int, bytes]:  # noqa: ASYNC109
    client = HttpClient(tls or Tls())
    try:
        return await client.get(url, {}, timeout)
    finally:
        await client.close()


async def fails(url: str, tls: Tls | None = None, timeout: float = 2.0) -> StokerError:  # noqa: ASYNC109
    with pytest.raises(StokerError) as caught:
        await get(url, tls, timeout)
    return caught.value


async def test_an_authority_of_ones_own_is_trusted_when_it_is_given(
    tls_server: HttpServer, certificates: Certificates
) -> None:
    assert (await get(tls_server.url, Tls(ca=certificates.ca)))[0] == 200
    assert (await get(tls_server.url, Tls(unsafe=True)))[0] == 200

    error = await fails(tls_server.url)
    assert error.message.endswith(
        "tls: failed to verify certificate: x509: certificate signed by unknown authority"
    )
    assert error.hint is not None
    assert "`ca`" in error.hint


async def test_a_certificate_for_another_name_is_refused(certificates: Certificates) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificates.authority.issue_cert("elsewhere.example").configure_cert(context)
    server, runner = await serve(context)

    error = await fails(server.url, Tls(ca=certificates.ca))

    assert "x509" in error.message
    assert "127.0.0.1" in error.message
    await runner.cleanup()


@pytest.mark.parametrize(
    ("tls", "words"),
    [
        (Tls(ca="nonsense"), "the `ca` is no PEM certificate"),
        (Tls(cert="x"), "both key and certificate must be provided"),
        (Tls(cert="hunter2", key="hunter3"), "error parse X509KeyPair"),
    ],
)
def test_certificates_that_are_none_are_told_without_their_text(tls: Tls, words: str) -> None:
    with pytest.raises(StokerError) as caught:
        tls.context()
    assert words in caught.value.message
    assert "hunter" not in f"{caught.value!r} {tls!r} {caught.value.hint}"


def test_a_private_file_is_gone_when_it_is_closed() -> None:
    with PrivateFile("hunter2") as file, open(file.path) as read:  # noqa: PTH123
        assert read.read() == "hunter2"
    with pytest.raises(OSError, match=r"."):
        open(file.path)  # noqa: PTH123, SIM115
    file.close()  # twice does nothing


async def test_a_slow_drip_ends_with_the_timeout(http_server: HttpServer) -> None:
    async def drip(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        for _ in range(100):
            await answer.write(b" ")
            await asyncio.sleep(0.02)
        return answer

    http_server.handler = drip
    loop = asyncio.get_running_loop()
    begin = loop.time()

    error = await fails(http_server.url, timeout=0.2)

    assert "context deadline exceeded" in error.message
    assert error.hint == "no answer in 0.2 s"
    assert loop.time() - begin < 1.5


async def test_a_huge_answer_is_not_read_to_its_end(
    http_server: HttpServer, monkeypatch: Any
) -> None:
    monkeypatch.setattr(http, "MAX_BYTES", 100_000)
    http_server.handler = lambda _: web.Response(body=b"x" * 1_000_000)

    assert "the answer is longer than" in (await fails(http_server.url)).message


async def test_an_answer_that_unpacks_to_a_huge_one_is_not_read_either(
    http_server: HttpServer, monkeypatch: Any
) -> None:
    monkeypatch.setattr(http, "MAX_BYTES", 100_000)

    def packed(_: web.Request) -> web.Response:
        answer = web.Response(body=b"x" * 1_000_000)
        answer.enable_compression(web.ContentCoding.gzip)
        return answer

    http_server.handler = packed
    assert "the answer is longer than" in (await fails(http_server.url)).message


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://127.0.0.1:1/x", '1/x": dial tcp 127.0.0.1:1: connect: connection refused'),
        ("http://u:hunter2@127.0.0.1:1/", 'Get "http://u:xxxxx@127.0.0.1:1/"'),
        ("http://nobody.invalid/", "dial tcp: lookup nobody.invalid: no such host"),
        ("http://[::1", "parse"),
    ],
)  # fmt: skip
async def test_failures_are_told_in_the_words_of_go(url: str, words: str) -> None:
    error = await fails(url)
    assert words in error.message
    assert "hunter2" not in str(error)


async def test_a_services_name_has_a_way_out() -> None:
    error = await fails("http://prometheus.monitoring.svc:9090/")
    assert error.hint is not None
    assert "inside a cluster only" in error.hint


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://h/p?q=1", "http://h/p?q=1"),
        ("http://u@h/", "http://u@h/"),
        ("http://u:p@h:1/x", "http://u:xxxxx@h:1/x"),
        ("http://[::1", "http://[::1"),
    ],
)
def test_urls_are_shown_without_a_password(url: str, shown: str) -> None:
    assert without_password(url) == shown


async def test_a_source_that_comes_back_is_read_again(
    http_server: HttpServer, build: Build
) -> None:
    http_server.handler = lambda _: web.Response(status=503)
    trigger = build("prometheus", serverAddress=http_server.url, **METADATA)

    assert (await trigger.read(0.0)).error == "prometheus query api returned error. status: 503"
    http_server.handler = lambda _: web.json_response(VECTOR)
    assert (await trigger.read(0.0)).value == 7.0


async def test_wrong_credentials_have_a_hint(http_server: HttpServer, build: Build) -> None:
    http_server.handler = lambda _: web.Response(status=401)
    reading = await build("prometheus", serverAddress=http_server.url, **METADATA).read(0.0)

    assert reading.error == "prometheus query api returned error. status: 401"
    assert "authenticationRef" in reading.answer


async def test_prometheus_takes_a_clients_certificate_and_a_prefix_of_paths(
    mtls_server: HttpServer, build: Build, certificates: Certificates
) -> None:
    mtls_server.handler = lambda _: web.json_response(VECTOR)
    auth = {"ca": certificates.ca, "cert": certificates.cert, "key": certificates.key}
    given = {"serverAddress": f"{mtls_server.url}/prefix", "authModes": "tls", **METADATA}

    assert (await build("prometheus", auth=auth, **given).read(0.0)).value == 7.0
    assert mtls_server.requests[0].path == "/prefix/api/v1/query"
    stranger = {
        **auth,
        "cert": "".join(b.bytes().decode() for b in certificates.stranger.cert_chain_pems),
        "key": certificates.stranger.private_key_pem.bytes().decode(),
    }
    assert (await build("prometheus", auth=stranger, **given).read(0.0)).value is None


async def test_triggers_share_a_session_and_the_last_one_closes_it() -> None:
    pool = Pool()
    first, second = HttpClient.lease(pool, Tls()), HttpClient.lease(pool, Tls())
    other = HttpClient.lease(pool, Tls(unsafe=True))

    assert first.value is second.value
    assert other.value is not first.value
    await first.release()
    await first.release()  # a second time does nothing
    assert len(pool) == 2
    await second.release()
    assert len(pool) == 1
    await pool.close()
    assert len(pool) == 0
    await other.release()
