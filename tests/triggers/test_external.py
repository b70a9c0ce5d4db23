"""external: a peer over a real socket, with TLS on both sides, that does what peers do."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import grpc.aio
import pytest

from stoker.errors import InputError, StokerError
from stoker.protocols import externalscaler_pb2 as messages
from stoker.protocols.externalscaler import handler
from stoker.scaling.spec import MetricType
from stoker.triggers.external import ExternalTrigger

from .conftest import Build, Certificates


class Peer:
    """An external scaler that a test tells what to say."""

    def __init__(self) -> None:
        self.specs: list[tuple[str, float, int]] = [("queue", 2.5, 0)]
        self.values: list[tuple[float, int]] = [(7.5, 0)]
        self.active: bool | grpc.StatusCode = True
        self.asked: list[tuple[str, Any]] = []

    async def get_metric_spec(self, request: Any, _context: Any) -> Any:
        self.asked.append(("GetMetricSpec", request))
        specs = [
            messages.MetricSpec(metricName=name, targetSizeFloat=target, targetSize=whole)
            for name, target, whole in self.specs
        ]
        return messages.GetMetricSpecResponse(metricSpecs=specs)

    async def get_metrics(self, request: Any, _context: Any) -> Any:
        self.asked.append(("GetMetrics", request))
        values = [
            messages.MetricValue(metricName="ignored", metricValueFloat=value, metricValue=whole)
            for value, whole in self.values
        ]
        return messages.GetMetricsResponse(metricValues=values)

    async def is_active(self, request: Any, context: Any) -> Any:
        self.asked.append(("IsActive", request))
        if isinstance(self.active, grpc.StatusCode):
            await context.abort(self.active, "no idea")
        return messages.IsActiveResponse(result=bool(self.active))

    async def stream_is_active(self, _request: Any, _context: Any) -> AsyncIterator[Any]:
        yield messages.IsActiveResponse(result=True)

    async def stream_metric_spec(self, _request: Any, _context: Any) -> AsyncIterator[Any]:
        yield messages.GetMetricSpecResponse()


Start = Callable[..., Any]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """``await start(peer)`` gives its address."""
    servers: list[grpc.aio.Server] = []

    async def begin(peer: Peer, credentials: Any = None, port: int = 0) -> str:
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((handler(peer),))
        address = f"127.0.0.1:{port}"
        bound = (
            server.add_secure_port(address, credentials)
            if credentials
            else server.add_insecure_port(address)
        )
        await server.start()
        servers.append(server)
        return f"127.0.0.1:{bound}"

    yield begin
    for server in servers:
        await server.stop(None)


async def test_a_read_is_three_calls_in_kedas_order(start: Start, build: Build) -> None:
    peer = Peer()
    address = await start(peer)
    trigger = build(
        "external", env={"VALUE": "resolved", "EMPTY": ""},
        scalerAddress=address, keyFromEnv="VALUE", noneFromEnv="EMPTY", missFromEnv="MISS", a=" b ",
    )  # fmt: skip

    reading = await trigger.read(0.0)

    assert (reading.value, reading.target, reading.active) == (7.5, 2.5, True)
    assert (reading.metric_name, trigger.metric_name) == ("s0-queue", "s0-queue")
    assert [call for call, _ in peer.asked] == ["GetMetricSpec", "GetMetrics", "IsActive"]
    ref = peer.asked[0][1]
    assert (ref.name, ref.namespace) == ("llama", "default")
    assert dict(ref.scalerMetadata) == {
        "scalerAddress": address,
        "keyFromEnv": "resolved",
        "a": " b ",
    }
    assert peer.asked[1][1].metricName == "queue"


@pytest.mark.parametrize(
    ("values", "value"),
    [
        ([(7.5, 3)], 7.5),
        ([(0.0, 3)], 3.0),
        ([(-1.0, 12)], 12.0),
        ([(float("nan"), 4)], 4.0),
        ([(0.0, -4)], 0.0),
        ([(float("inf"), 0)], 0.0),
        ([(1.0, 0), (2.0, 0), (0.0, 3)], 6.0),
    ],
)
async def test_a_double_above_zero_wins_over_the_integer(
    start: Start, build: Build, values: Any, value: float
) -> None:
    peer = Peer()
    peer.values = values

    assert (await build("external", scalerAddress=await start(peer)).read(0.0)).value == value


async def test_each_metric_is_read_of_its_own(start: Start, build: Build) -> None:
    peer = Peer()
    peer.specs = [("a", 0.0, 4), ("b", 1.5, 4)]
    trigger = build("external", scalerAddress=await start(peer))
    assert isinstance(trigger, ExternalTrigger)

    readings = await trigger.read_all(0.0)

    assert [(r.metric_name, r.target, r.value) for r in readings] == [
        ("s0-a", 4.0, 7.5),
        ("s0-b", 1.5, 7.5),
    ]
    assert [call for call, _ in peer.asked] == [
        "GetMetricSpec", "GetMetrics", "IsActive", "GetMetrics", "IsActive",
    ]  # fmt: skip


async def test_a_target_stays_and_a_renamed_metric_is_lost(start: Start, build: Build) -> None:
    peer = Peer()
    trigger = build("external", scalerAddress=await start(peer))
    await trigger.read(0.0)

    peer.specs = [("queue", 99.0, 0)]
    assert (await trigger.read(0.0)).target == 2.5
    peer.specs = [("other", 2.5, 0)]
    reading = await trigger.read(0.0)
    assert reading.error == "no matching metrics found for s0-queue"
    assert "s0-other" in reading.answer


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"specs": []}, "no metric specs returned from scalers"),
        ({"values": []}, "no matching metrics found for s0-queue"),
        ({"active": grpc.StatusCode.NOT_FOUND}, "rpc error: code = NotFound desc = no idea"),
        ({"specs": [("a/b", 1.0, 0)]}, "is refused by the API server"),
        ({"specs": [("a", 0.0004, 0)]}, "is refused by the API server"),
    ],
)
async def test_what_keda_cannot_use_is_an_error(
    start: Start, build: Build, change: dict[str, Any], words: str
) -> None:
    peer = Peer()
    vars(peer).update(change)

    reading = await build("external", scalerAddress=await start(peer)).read(0.0)

    assert reading.value is None
    assert words in (reading.error or "")


async def test_a_peer_that_is_not_active_still_has_a_value(start: Start, build: Build) -> None:
    peer = Peer()
    peer.active = False

    reading = await build("external", scalerAddress=await start(peer)).read(0.0)
    assert (reading.value, reading.active) == (7.5, False)


async def test_nobody_there_is_told_in_the_words_of_grpc(build: Build) -> None:
    reading = await build("external", scalerAddress="127.0.0.1:1").read(0.0)

    assert (reading.error or "").startswith("rpc error: code = Unavailable desc = ")


def mutual(certificates: Certificates) -> Any:
    chain = b"".join(blob.bytes() for blob in certificates.server.cert_chain_pems)
    return grpc.ssl_server_credentials(
        [(certificates.server.private_key_pem.bytes(), chain)],
        certificates.authority.cert_pem.bytes(),
        require_client_auth=True,
    )


async def test_both_sides_show_certificates(
    start: Start, build: Build, certificates: Certificates
) -> None:
    address = await start(Peer(), mutual(certificates))
    auth = {
        "caCert": certificates.ca,
        "tlsClientCert": certificates.cert,
        "tlsClientKey": certificates.key,
    }

    good = await build("external", auth=auth, scalerAddress=address).read(0.0)
    assert (good.value, good.error) == (7.5, None)

    for wrong in ({"caCert": certificates.ca}, {}):
        refused = await build("external", auth=wrong, scalerAddress=address, enableTLS="true").read(
            0.0
        )
        assert refused.value is None
        assert "Unavailable" in (refused.error or "")


async def test_triggers_of_one_peer_share_a_channel(start: Start, build: Build) -> None:
    address = await start(Peer())
    first, second = (build("external", scalerAddress=address) for _ in range(2))
    await first.read(0.0)
    await second.read(0.0)

    assert isinstance(first, ExternalTrigger)
    assert isinstance(second, ExternalTrigger)
    assert first._client is not None
    assert second._client is not None
    assert first._client.value is second._client.value
    await first.close()
    assert (await second.read(0.0)).error is None


@pytest.mark.parametrize(
    ("metadata", "auth", "words"),
    [
        ({}, {}, 'missing required parameter "scalerAddress" in [triggerMetadata]'),
        ({"scalerAddress": "a:1", "enableTLS": "x"}, {}, 'unable to parse boolean value "x"'),
        ({"scalerAddress": "a:1", "enableTLS": "1", "unsafeSsl": "1"}, {}, "`unsafeSsl` is not"),
    ],
)
async def test_what_cannot_be_built_is_refused(
    build: Build, metadata: dict[str, str], auth: dict[str, str], words: str
) -> None:
    with pytest.raises(InputError) as caught:
        build("external", auth=auth, **metadata)
    assert words in caught.value.message


async def test_percent_is_no_external_metric(build: Build) -> None:
    with pytest.raises(InputError, match="Utilization"):
        build("external", metric_type=MetricType.UTILIZATION, scalerAddress="a:1")


async def test_stream_says_what_is_pushed_and_breaks_with_a_reason(
    start: Start, build: Build
) -> None:
    address = await start(Peer())
    trigger = build("external-push", scalerAddress=address)
    assert [active async for active in trigger.stream_active()] == [True]
    await trigger.close()
    nobody = build("external-push", scalerAddress="127.0.0.1:1")
    with pytest.raises(StokerError, match="rpc error: code = Unavailable"):
        await anext(nobody.stream_active())
    await nobody.close()
