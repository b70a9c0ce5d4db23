"""OTLP over real sockets: the OpenTelemetry SDK as the sender, and senders that err."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import aiohttp
import pytest

grpc = pytest.importorskip("grpc")
pytest.importorskip("opentelemetry.sdk.metrics")
trustme = pytest.importorskip("trustme")

from cryptography.hazmat.primitives import serialization  # noqa: E402
from google.protobuf.json_format import MessageToJson  # noqa: E402
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import (  # noqa: E402
    OTLPMetricExporter as GrpcExporter,
)
from opentelemetry.exporter.otlp.proto.http import Compression  # noqa: E402
from opentelemetry.exporter.otlp.proto.http.metric_exporter import (  # noqa: E402
    OTLPMetricExporter as HttpExporter,
)
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as service  # noqa: E402
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider  # noqa: E402
from opentelemetry.sdk.metrics.export import (  # noqa: E402
    AggregationTemporality,
    InMemoryMetricReader,
    MetricExportResult,
)
from opentelemetry.sdk.metrics.view import (  # noqa: E402
    ExponentialBucketHistogramAggregation,
    View,
)
from opentelemetry.sdk.resources import Resource  # noqa: E402

from stoker.api.otlp import PROMETHEUS_PATH, OtlpServers, serve_otlp  # noqa: E402
from stoker.clock import LoopClock  # noqa: E402
from stoker.errors import ConflictError, InputError  # noqa: E402
from stoker.metrics.otlp.receiver import OtlpReceiver  # noqa: E402
from stoker.metrics.otlp.wire import MAX_MESSAGE_BYTES, METHOD  # noqa: E402
from stoker.metrics.scrape import Scraper  # noqa: E402
from stoker.metrics.storage import Storage  # noqa: E402
from stoker.promql.engine import instant  # noqa: E402
from stoker.stack.embedded import serve_prometheus  # noqa: E402
from stoker.transport.tls import TlsFiles  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
def storage() -> Storage:
    return Storage()


async def serve(storage: Storage, **options) -> OtlpServers:
    ports = {"grpc_port": 0, "http_port": 0} | options
    return await serve_otlp(OtlpReceiver(storage), LoopClock(), host="127.0.0.1", **ports)


@pytest.fixture
async def serve_until_closed(storage) -> AsyncIterator[Callable[..., Awaitable[OtlpServers]]]:
    """Like :func:`serve`, closed when the test is over."""
    async with AsyncExitStack() as stack:

        async def start(**options) -> OtlpServers:
            servers = await serve(storage, **options)
            stack.push_async_callback(servers.close)
            return servers

        yield start


@pytest.fixture
async def servers(serve_until_closed) -> OtlpServers:
    return await serve_until_closed()


def one(storage: Storage, query: str) -> float:
    (sample,) = instant(query, storage, LoopClock().now() + 1).samples
    return sample.v


class Sdk:
    """A program that measures itself with the OpenTelemetry SDK."""

    def __init__(self, temporality=AggregationTemporality.CUMULATIVE, views=()) -> None:
        self.reader = InMemoryMetricReader(
            preferred_temporality={Counter: temporality, Histogram: temporality}
        )
        resource = Resource({"service.name": "engine", "service.instance.id": "a"})
        provider = MeterProvider([self.reader], resource, views=views)
        meter = provider.get_meter("test")
        self.tokens = meter.create_counter("tokens")
        self.ttft = meter.create_histogram(
            "ttft", unit="s", explicit_bucket_boundaries_advisory=[0.1, 1.0]
        )
        self.waiting = meter.create_up_down_counter("waiting")

    def work(self) -> None:
        self.tokens.add(5, {"model": "m"})
        self.ttft.record(0.5)
        self.waiting.add(2)


def exporter(how: str, servers: OtlpServers):
    if how == "gRPC":
        return GrpcExporter(f"127.0.0.1:{servers.grpc_port}", insecure=True)
    if how == "gRPC gzip":
        return GrpcExporter(
            f"127.0.0.1:{servers.grpc_port}", insecure=True, compression=grpc.Compression.Gzip
        )
    url = f"http://127.0.0.1:{servers.http_port}/v1/metrics"
    compression = Compression.Gzip if how == "HTTP gzip" else Compression.NoCompression
    return HttpExporter(url, compression=compression)


async def push(sdk: Sdk, exporter) -> None:
    data = sdk.reader.get_metrics_data()
    result = await asyncio.to_thread(exporter.export, data)
    assert result is MetricExportResult.SUCCESS


@pytest.mark.parametrize("how", ["gRPC", "gRPC gzip", "HTTP", "HTTP gzip"])
@pytest.mark.parametrize(
    "temporality", [AggregationTemporality.CUMULATIVE, AggregationTemporality.DELTA], ids=str
)
async def test_sdk_pushes_counters_histograms_and_gauges(storage, servers, how, temporality):
    sdk, sender = Sdk(temporality), exporter(how, servers)
    for _ in range(3):
        sdk.work()
        await push(sdk, sender)
    await asyncio.to_thread(sender.shutdown)
    assert one(storage, 'tokens_total{job="engine", instance="a", model="m"}') == 15
    assert one(storage, 'ttft_seconds_bucket{le="1.0"}') == 3
    assert one(storage, 'ttft_seconds_bucket{le="0.1"}') == 0
    assert one(storage, "ttft_seconds_count") == 3
    assert one(storage, "waiting") == 6


async def test_sdk_pushes_exponential_histograms(storage, servers):
    view = View(instrument_name="ttft", aggregation=ExponentialBucketHistogramAggregation())
    sdk, sender = Sdk(views=[view]), exporter("gRPC", servers)
    for seconds in (0.2, 0.4, 0.8, 1.6):
        sdk.ttft.record(seconds)
    await push(sdk, sender)
    await asyncio.to_thread(sender.shutdown)
    assert one(storage, "ttft_seconds_count") == 4
    assert 0.7 < one(storage, "histogram_quantile(0.75, ttft_seconds_bucket)") < 0.9


def request(name: str = "x", value: float = 1.0) -> service.ExportMetricsServiceRequest:
    made = service.ExportMetricsServiceRequest()
    metric = made.resource_metrics.add().scope_metrics.add().metrics.add()
    metric.name = name
    metric.gauge.data_points.add().as_double = value
    return made


async def chunks(body: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(body), 2**20):
        yield body[at : at + 2**20]


async def post(servers: OtlpServers, body: bytes, kind: str, **headers: str):
    url = f"http://127.0.0.1:{servers.http_port}/v1/metrics"
    headers = {"Content-Type": kind} | {k.replace("_", "-"): v for k, v in headers.items()}
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, data=chunks(body), headers=headers) as answer,
    ):
        return answer.status, answer.content_type, await answer.read()


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip])
async def test_sdk_pushes_to_where_prometheus_takes_it(storage, compression):
    server = await serve_prometheus(
        storage, LoopClock(), Scraper(storage, LoopClock()), host="127.0.0.1", port=0,
        page=str, receiver=OtlpReceiver(storage),
    )  # fmt: skip
    sdk = Sdk()
    sdk.work()
    sender = HttpExporter(server.url + PROMETHEUS_PATH, compression=compression)
    await push(sdk, sender)
    await asyncio.to_thread(sender.shutdown)
    await server.close()
    assert one(storage, "tokens_total") == 5


async def test_json_is_taken_and_answered_in_json(storage, servers):
    body = MessageToJson(request()).encode()
    status, kind, answer = await post(servers, body, "application/json; charset=utf-8")
    assert (status, kind, json.loads(answer)) == (200, "application/json", {})
    assert one(storage, "x") == 1


async def test_what_is_rejected_is_told(servers):
    body = MessageToJson(request("%")).encode()
    status, _, answer = await post(servers, body, "application/json")
    assert status == 200
    told = json.loads(answer)["partialSuccess"]
    assert told["rejectedDataPoints"] == "1"
    assert "`%`" in told["errorMessage"]


PROTOBUF = "application/x-protobuf"


@pytest.mark.parametrize(
    ("body", "kind", "headers", "status", "words"),
    [
        pytest.param(b"\xff\xff", PROTOBUF, {}, 400, "not an Export", id="damaged protobuf"),
        pytest.param(b"{", "application/json", {}, 400, "in JSON", id="damaged JSON"),
        pytest.param(b"[" * 9000, "application/json", {}, 400, "in JSON", id="deep JSON"),
        pytest.param(b"\xff", "application/json", {}, 400, "UTF-8", id="not UTF-8"),
        pytest.param(b"x", "text/plain", {}, 415, "OTLP is", id="neither"),
        pytest.param(b"x", PROTOBUF, {"Content_Encoding": "gzip"}, 400, "not an", id="no gzip"),
        pytest.param(b"\x1f\x8bx", PROTOBUF, {}, 400, "damaged gzip", id="half gzip"),
        pytest.param(
            gzip.compress(b"x" * 99)[:-9], PROTOBUF, {"Content_Encoding": "gzip"}, 400, "early",
            id="torn gzip",
        ),
        pytest.param(
            gzip.compress(bytes(MAX_MESSAGE_BYTES + 1)), PROTOBUF, {"Content_Encoding": "gzip"},
            413, "more than", id="gzip bomb",
        ),
        pytest.param(
            bytes(MAX_MESSAGE_BYTES + 1), PROTOBUF, {}, 413, "more than", id="too large"
        ),
        pytest.param(b"x", PROTOBUF, {"Content_Encoding": "zstd"}, 400, "zstd", id="encoding"),
    ],
)  # fmt: skip
async def test_what_cannot_be_read_has_its_status(storage, servers, body, kind, headers, status,
                                                  words):  # fmt: skip
    got, _, answer = await post(servers, body, kind, **headers)
    assert got == status
    assert words.encode() in answer
    assert storage.sample_count() == 0


async def test_refusal_is_a_status_message_of_the_kind_that_was_sent(servers):
    _, kind, answer = await post(servers, b"\xff\xff", PROTOBUF)
    assert kind == PROTOBUF
    assert answer[:3] == b"\x08\x03\x12"
    _, kind, answer = await post(servers, b"{", "application/json")
    assert json.loads(answer)["code"] == 3


async def test_damage_over_grpc_is_an_invalid_argument(servers):
    async with grpc.aio.insecure_channel(f"127.0.0.1:{servers.grpc_port}") as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await channel.unary_unary(METHOD)(b"\xff\xff")
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await channel.unary_unary(METHOD)(bytes(MAX_MESSAGE_BYTES + 1))
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_partial_success_over_grpc(servers):
    async with grpc.aio.insecure_channel(f"127.0.0.1:{servers.grpc_port}") as channel:
        answer = await channel.unary_unary(
            METHOD, response_deserializer=service.ExportMetricsServiceResponse.FromString
        )(request("%").SerializeToString())
    assert answer.partial_success.rejected_data_points == 1


async def test_taken_port_is_told_with_its_flag(storage, servers):
    with pytest.raises(ConflictError, match="OTLP over gRPC cannot listen") as told:
        await serve(storage, grpc_port=servers.grpc_port)
    assert "--otlp-grpc-port" in told.value.hint
    with pytest.raises(ConflictError, match="OTLP over HTTP cannot listen") as told:
        await serve(storage, http_port=servers.http_port)
    assert "--otlp-http-port" in told.value.hint


@pytest.fixture
def authority(monkeypatch):
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)  # would win over what a test says
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
    return trustme.CA()


def certificate(authority, directory, name="server") -> TlsFiles:
    issued = authority.issue_cert("127.0.0.1", "localhost")
    files = TlsFiles(
        directory / f"{name}.crt", directory / f"{name}.key", directory / "clients.crt"
    )
    issued.private_key_pem.write_to_path(files.key)
    files.certificate.write_bytes(b"".join(one.bytes() for one in issued.cert_chain_pems))
    authority.cert_pem.write_to_path(files.client_ca)
    return files


async def test_tls_with_client_certificates(storage, serve_until_closed, authority, tmp_path):
    server = certificate(authority, tmp_path)
    client = certificate(authority, tmp_path, "client")
    servers = await serve_until_closed(tls=server)
    credentials = grpc.ssl_channel_credentials(
        authority.cert_pem.bytes(), client.key.read_bytes(), client.certificate.read_bytes()
    )
    sdk = Sdk()
    sdk.work()
    sender = GrpcExporter(f"localhost:{servers.grpc_port}", credentials=credentials)
    await push(sdk, sender)
    await asyncio.to_thread(sender.shutdown)
    sdk.work()
    sender = HttpExporter(
        f"https://localhost:{servers.http_port}/v1/metrics",
        certificate_file=str(tmp_path / "clients.crt"),
        client_certificate_file=str(client.certificate),
        client_key_file=str(client.key),
    )
    await push(sdk, sender)
    await asyncio.to_thread(sender.shutdown)
    assert one(storage, "tokens_total") == 10
    assert servers.urls["grpc"] == f"https://127.0.0.1:{servers.grpc_port}"
    anonymous = grpc.ssl_channel_credentials(authority.cert_pem.bytes())
    async with grpc.aio.secure_channel(f"localhost:{servers.grpc_port}", anonymous) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await channel.unary_unary(METHOD)(b"")
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("what", ["certificate", "key", "client_ca"])
@pytest.mark.parametrize("how", ["missing", "nonsense"])
async def test_files_that_cannot_be_used_are_named(storage, authority, tmp_path, what, how):
    files = certificate(authority, tmp_path)
    spoiled = getattr(files, what)
    spoiled.unlink() if how == "missing" else spoiled.write_text("nonsense")
    with pytest.raises(InputError) as told:
        await serve(storage, tls=files)
    expected = files.certificate if (what, how) == ("key", "nonsense") else spoiled
    assert told.value.place.file == str(expected)


async def test_renewed_certificate_is_taken_by_the_next_connection(
    storage, serve_until_closed, authority, tmp_path
):
    files = TlsFiles(
        *(getattr(certificate(authority, tmp_path), n) for n in ("certificate", "key"))
    )
    servers = await serve_until_closed(tls=files)
    other = trustme.CA()
    certificate(other, tmp_path)
    credentials = grpc.ssl_channel_credentials(other.cert_pem.bytes())
    async with grpc.aio.secure_channel(f"localhost:{servers.grpc_port}", credentials) as channel:
        await channel.unary_unary(METHOD)(request().SerializeToString())
    sdk = Sdk()
    sender = HttpExporter(
        f"https://localhost:{servers.http_port}/v1/metrics",
        certificate_file=str(tmp_path / "clients.crt"),
    )
    sdk.work()
    await push(sdk, sender)
    await asyncio.to_thread(sender.shutdown)
    assert one(storage, "x") == 1
    assert one(storage, "tokens_total") == 5


async def test_key_with_a_password_is_refused_with_the_way_out(storage, authority, tmp_path):
    files = certificate(authority, tmp_path)
    key = serialization.load_pem_private_key(files.key.read_bytes(), None)
    files.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    with pytest.raises(InputError, match="the key has a password") as told:
        await serve(storage, tls=files)
    assert "openssl pkey" in told.value.hint
