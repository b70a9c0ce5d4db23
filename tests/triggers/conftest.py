"""Servers that tests of triggers share, each started when the first test asks for it."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme
from aiohttp import web

from stoker.scaling.spec import MetricType, TriggerSpec
from stoker.triggers.base import Trigger, TriggerContext
from stoker.triggers.registry import build_trigger

from . import servers


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM texts of an authority, a server and a client of it, and a stranger's."""

    authority: trustme.CA
    server: trustme.LeafCert
    client: trustme.LeafCert
    stranger: trustme.LeafCert

    @property
    def ca(self) -> str:
        return self.authority.cert_pem.bytes().decode()

    @property
    def cert(self) -> str:
        return "".join(blob.bytes().decode() for blob in self.client.cert_chain_pems)

    @property
    def key(self) -> str:
        return self.client.private_key_pem.bytes().decode()


@pytest.fixture(scope="session")
def certificates() -> Certificates:
    authority = trustme.CA()
    return Certificates(
        authority,
        authority.issue_cert("127.0.0.1", "localhost"),
        authority.issue_cert("stoker@example.com"),
        trustme.CA().issue_cert("stranger@example.com"),
    )


@pytest.fixture(scope="session")
def certificate_files(certificates: Certificates, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``ca.pem``, ``server.pem`` and ``server.key``, for servers that read files."""
    folder = tmp_path_factory.mktemp("certificates")
    certificates.authority.cert_pem.write_to_path(folder / "ca.pem")
    certificates.server.private_key_pem.write_to_path(folder / "server.key")
    for blob in certificates.server.cert_chain_pems:
        blob.write_to_path(folder / "server.pem", append=True)
    return folder


@pytest.fixture(scope="session")
def redis_server(
    tmp_path_factory: pytest.TempPathFactory, certificate_files: Path
) -> Iterator[tuple[int, int]]:
    """A Redis; its plain port and one with TLS that wants a client's certificate."""
    folder = tmp_path_factory.mktemp("redis")
    plain, secure = servers.free_ports(2)
    files = certificate_files
    command = servers.redis_command(
        plain, folder, "--tls-port", str(secure),
        "--tls-cert-file", str(files / "server.pem"), "--tls-key-file", str(files / "server.key"),
        "--tls-ca-cert-file", str(files / "ca.pem"), "--tls-auth-clients", "yes",
        "--user", "reader", "on", ">hunter2", "~*", "+@all",
)  # fmt: skip
    with servers.running(command, lambda: servers.accepts(plain), log=folder / "log"):
        yield plain, secure


@pytest.fixture(scope="session")
def redis_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[int]]:
    with servers.redis_cluster(tmp_path_factory.mktemp("cluster")) as ports:
        yield ports


@pytest.fixture(scope="session")
def redis_sentinel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int]]:
    with servers.redis_sentinel(tmp_path_factory.mktemp("sentinel")) as ports:
        yield ports


@pytest.fixture(scope="session")
def rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Broker]:
    with servers.rabbitmq(tmp_path_factory.mktemp("rabbitmq")) as broker:
        yield broker


Build = Callable[..., Trigger]


@pytest.fixture
async def build() -> AsyncIterator[Build]:
    """Makes triggers: ``build("redis", auth={...}, listName="q")``; closes them in the end."""
    built: list[Trigger] = []
    context = TriggerContext(lambda _: None, name="llama", timeout=2.0)

    def make(
        type_: str,
        *,
        auth: dict[str, str] | None = None,
        env: dict[str, str] | None = None,
        metric_type: MetricType = MetricType.AVERAGE_VALUE,
        **metadata: str,
    ) -> Trigger:
        own = TriggerContext(
            context.query_for, name="llama", timeout=2.0, auth=auth or {}, env=env or {},
            pool=context.pool,
        )  # fmt: skip
        trigger = build_trigger(TriggerSpec(0, type_, metadata, metric_type=metric_type), own)
        built.append(trigger)
        return trigger

    yield make
    for trigger in built:
        await trigger.close()
    assert len(context.pool) == 0, "a closed trigger holds a connection"


Handler = Callable[[web.Request], web.StreamResponse]


@dataclass(slots=True)
class HttpServer:
    """A server that answers by *handler* and remembers what it was asked."""

    url: str
    requests: list[web.Request]
    handler: Callable[[web.Request], object]


async def serve(context: ssl.SSLContext | None) -> tuple[HttpServer, web.AppRunner]:
    """Listen on a free port."""
    found = HttpServer("", [], lambda _: web.Response(text="{}"))

    async def answer(request: web.Request) -> web.StreamResponse:
        found.requests.append(request)
        answer = found.handler(request)
        if isinstance(answer, web.StreamResponse):
            return answer
        return await answer  # type: ignore[no-any-return, misc]

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    scheme = "http" if context is None else "https"
    found.url = f"{scheme}://127.0.0.1:{runner.addresses[0][1]}"
    return found, runner


@pytest.fixture
async def http_server() -> AsyncIterator[HttpServer]:
    server, runner = await serve(None)
    yield server
    await runner.cleanup()


@pytest.fixture
async def mtls_server(certificates: Certificates) -> AsyncIterator[HttpServer]:
    """HTTPS that wants a client's certificate of the same authority."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificates.server.configure_cert(context)
    certificates.authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    server, runner = await serve(context)
    yield server
    await runner.cleanup()


@pytest.fixture
async def tls_server(certificates: Certificates) -> AsyncIterator[HttpServer]:
    """HTTPS that takes any client."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificates.server.configure_cert(context)
    server, runner = await serve(context)
    yield server
    await runner.cleanup()
