"""``type: external``: somebody's own scaler, asked over gRPC in KEDA's protocol.

A read is GetMetricSpec and then, for each metric, GetMetrics and IsActive. Names and targets reach
the HPA when KEDA makes it and never again: a target that changes later has no effect, and a metric
that is renamed is lost.

*Source*: ``pkg/scalers/external_scaler.go`` of KEDA 2.20.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from stoker.errors import InputError, MachineError, StokerError
from stoker.scaling.numbers import plain
from stoker.scaling.observation import Missing, TriggerReading
from stoker.scaling.spec import MetricType, TriggerSpec
from stoker.triggers.base import TriggerContext, unread
from stoker.triggers.connections import Lease, Tls
from stoker.triggers.http import service_hint
from stoker.triggers.parameters import AUTH, Parameter, Parameters, parameter

if TYPE_CHECKING:
    import grpc.aio

    from stoker.protocols.externalscaler import Client

_PATIENCE = 60.0  # seconds of one call; KEDA waits for ever, and everything with it
_CONFIG = '{"loadBalancingConfig": [{"round_robin": {}}]}'


@dataclass(frozen=True, slots=True)
class Peer:
    """Whom to ask, and how. Triggers with the same one share a channel."""

    address: str
    tls: Tls | None = None  # None: in plain text


class ExternalTrigger:
    """Whatever a program says that speaks KEDA's external scaler protocol."""

    PARAMETERS: ClassVar[tuple[Parameter, ...]] = (
        parameter("scalerAddress", "host:port of the scaler", required=True),
        parameter("enableTLS", "TLS without certificates of your own", "bool"),
        parameter("unsafeSsl", "the server's certificate is not looked at", "bool",
                  note="gRPC for Python cannot do that: refused"),
        parameter("caCert", "PEM of the authority of the scaler", order=AUTH),
        parameter("tlsClientCert", "PEM of a client's certificate", order=AUTH),
        parameter("tlsClientKey", "PEM of its key", order=AUTH, secret=True),
    )  # fmt: skip

    def __init__(self, spec: TriggerSpec, context: TriggerContext) -> None:
        self.spec = spec
        given = Parameters(self.PARAMETERS, spec.metadata, context.auth, context.env)
        if spec.metric_type is MetricType.UTILIZATION:
            given.refuse("'Utilization' metric type is unsupported for external metrics")
        given.finish("external scaler")
        tls = Tls(given.text("caCert"), given.text("tlsClientCert"), given.text("tlsClientKey"))
        secured = given.boolean("enableTLS") or bool(tls.ca) or bool(tls.cert)
        if given.boolean("unsafeSsl") and secured:
            raise InputError(
                "`unsafeSsl` is not supported for external scalers",
                hint="give the scaler's certificate as `caCert` in a TriggerAuthentication",
            )
        if secured:
            tls.context()  # what is wrong with the certificates shows here
        self.peer = Peer(given.text("scalerAddress"), tls if secured else None)
        self.metadata = scaler_metadata(spec, context)
        self._name, self._namespace = context.name, context.namespace
        # as the HPA was made, by the name of the metric: known still when the scaler is gone
        self._targets = context.memory
        self._pool = context.pool
        self._client: Lease[Any] | None = None

    @property
    def metric_name(self) -> str:
        """Of the first metric; before the scaler has told, a placeholder."""
        return next(iter(self._targets), f"s{self.spec.index}-external")

    @property
    def target(self) -> float:
        """Of the first metric; before the scaler has told, 0."""
        return next(iter(self._targets.values()), 0.0)

    async def read(self, now: float) -> TriggerReading:
        """The first metric only."""
        return (await self.read_all(now))[0]

    async def read_all(self, now: float) -> tuple[TriggerReading, ...]:  # noqa: ARG002
        """All metrics, or one reading that says why there are none."""
        try:
            _need_grpc()
            targets = await self._specs()
        except StokerError as error:
            names = tuple(self._targets) or (self.metric_name,)
            failed = (self._failed(name, error) for name in names)
            return tuple(replace(reading, missing=Missing.SPECS) for reading in failed)
        if not self._targets:
            self._targets.update(targets)
        return tuple([await self._metric(name, targets) for name in self._targets])

    async def stream_active(self) -> AsyncIterator[bool]:
        """What the scaler pushes, until it ends the stream. Raises StokerError when it breaks."""
        import grpc.aio  # noqa: PLC0415 - an extra

        if self._client is None:
            self._client = self._pool.lease(("grpc", self.peer), self._channel)
        try:
            async for answer in self._client.value.stream_is_active(self._ref()):
                yield answer.result
        except grpc.aio.AioRpcError as error:
            raise self._broken(error) from None

    async def close(self) -> None:
        """Give back the channel."""
        if self._client is not None:
            await self._client.release()
            self._client = None

    # -- one read --------------------------------------------------------------------------------

    async def _specs(self) -> dict[str, float]:
        """Names, with their index, and targets."""
        found = {}
        for spec in (await self._call("get_metric_spec", self._ref())).metricSpecs:
            target = spec.targetSizeFloat if spec.targetSizeFloat > 0 else float(spec.targetSize)
            name = f"s{self.spec.index}-{spec.metricName}"
            if "/" in spec.metricName or target < 0.0005:
                raise StokerError(
                    f"metric {name} with target {plain(target)} is refused by the API server",
                    hint="a name cannot have `/`, and a target is at least 0.001",
                )
            found[name] = target
        if not found:
            raise StokerError(
                "no metric specs returned from scalers",
                hint="the scaler's GetMetricSpec gave an empty list",
            )
        return found

    async def _metric(self, name: str, targets: dict[str, float]) -> TriggerReading:
        reading = self._unread(name)
        if name not in targets:
            problem = f"no matching metrics found for {name}"
            hint = f"the scaler now calls its metrics {', '.join(sorted(targets))}"
            try:  # KEDA's polls go on under the new name
                active = bool(await self._call("is_active", self._ref()))
            except StokerError as error:
                return self._failed(name, error)
            return replace(
                reading, error=problem, answer=hint, active=active, missing=Missing.VALUES
            )
        from stoker.protocols.externalscaler_pb2 import GetMetricsRequest  # noqa: PLC0415

        short = name.partition("-")[2]
        request = GetMetricsRequest(scaledObjectRef=self._ref(), metricName=short)
        try:
            values = (await self._call("get_metrics", request)).metricValues
            active = bool(await self._call("is_active", self._ref()))
        except StokerError as error:
            return self._failed(name, error)
        if not values:
            problem = f"no matching metrics found for {name}"
            return replace(
                reading,
                error=problem,
                answer="GetMetrics gave an empty list",
                active=active,
                missing=Missing.VALUES,
            )
        numbers = [
            one.metricValueFloat if one.metricValueFloat > 0 else float(one.metricValue)
            for one in values
        ]
        # the HPA sums what KEDA has cut each to: negative and infinite ones are 0
        value = sum(max(number, 0.0) if math.isfinite(number) else 0.0 for number in numbers)
        answer = f"{plain(value)}, {'active' if active else 'not active'}"
        return replace(reading, value=value, active=active, answer=answer)

    def _unread(self, name: str) -> TriggerReading:
        source = f"{name.partition('-')[2]} of {self.peer.address}"
        return unread(self.spec, name, self._targets.get(name, 0.0), source)

    def _failed(self, name: str, error: StokerError) -> TriggerReading:
        return replace(self._unread(name), error=error.message, answer=error.hint or "")

    def _ref(self) -> Any:
        from stoker.protocols.externalscaler_pb2 import ScaledObjectRef  # noqa: PLC0415

        return ScaledObjectRef(
            name=self._name, namespace=self._namespace, scalerMetadata=self.metadata
        )

    async def _call(self, name: str, request: Any) -> Any:
        """One call. Raises StokerError."""
        import grpc.aio  # noqa: PLC0415 - an extra

        if self._client is None:
            self._client = self._pool.lease(("grpc", self.peer), self._channel)
        try:
            return await getattr(self._client.value, name)(request, timeout=_PATIENCE)
        except grpc.aio.AioRpcError as error:
            raise self._broken(error) from None

    def _broken(self, error: grpc.aio.AioRpcError) -> StokerError:
        """In the words of gRPC for Go."""
        code = "".join(word.capitalize() for word in error.code().name.split("_"))
        host = self.peer.address.rpartition(":")[0]
        return StokerError(
            f"rpc error: code = {code} desc = {error.details()}", hint=service_hint(host)
        )

    def _channel(self) -> tuple[Client, Callable[[], Awaitable[object]]]:
        import grpc  # noqa: PLC0415
        import grpc.aio  # noqa: PLC0415

        from stoker.protocols.externalscaler import Client  # noqa: PLC0415

        options = (
            ("grpc.service_config", _CONFIG),
            ("grpc.enable_http_proxy", 0),
            # a server that comes back is asked again after at most this many milliseconds
            ("grpc.max_reconnect_backoff_ms", 5000),
            # channels to one address otherwise share a subchannel, and its old credentials
            ("grpc.use_local_subchannel_pool", 1),
        )
        tls = self.peer.tls
        if tls is None:
            channel = grpc.aio.insecure_channel(self.peer.address, options)
        else:
            credentials = grpc.ssl_channel_credentials(
                tls.ca.encode() or None, tls.key.encode() or None, tls.cert.encode() or None
            )
            channel = grpc.aio.secure_channel(self.peer.address, credentials, options)
        return Client(channel), channel.close


def _need_grpc() -> None:
    """Raise MachineError where the extra is not installed."""
    try:
        import stoker.protocols.externalscaler  # noqa: F401, PLC0415
    except ImportError:
        raise MachineError(
            "the Python package `grpcio` is not installed", hint="pip install 'stoker[grpc]'"
        ) from None


def scaler_metadata(spec: TriggerSpec, context: TriggerContext) -> dict[str, str]:
    """What the scaler is told: all metadata, and for ``xFromEnv`` the value under that same name.

    A variable that is not there, or empty, is left out.
    """
    found = {}
    for key, value in spec.metadata.items():
        if not key.endswith("FromEnv"):
            found[key] = value
        elif context.env.get(value):
            found[key] = context.env[value]
    return found
