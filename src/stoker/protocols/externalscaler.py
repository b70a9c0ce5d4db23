"""KEDA's external scaler as gRPC: a client of its five calls, and how to serve them.

Messages are in :mod:`stoker.protocols.externalscaler_pb2`. The calls are spelled out here, because
generated call code would demand the newest grpcio and has no types.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Protocol, cast

import grpc
import grpc.aio

from stoker.protocols.externalscaler_pb2 import (
    GetMetricSpecResponse,
    GetMetricsRequest,
    GetMetricsResponse,
    IsActiveResponse,
    ScaledObjectRef,
)

SERVICE = "externalscaler.ExternalScaler"


class ExternalScaler(Protocol):
    """What an external scaler does; a server implements it and hands it to :func:`handler`.

    To refuse a call: ``await context.abort(grpc.StatusCode.NOT_FOUND, "...")``.
    """

    async def is_active(self, request: ScaledObjectRef, context: Any) -> IsActiveResponse:
        """Whether the target may run at all."""
        ...

    def stream_is_active(
        self, request: ScaledObjectRef, context: Any
    ) -> AsyncIterator[IsActiveResponse]:
        """As :meth:`is_active`, pushed."""
        ...

    async def get_metric_spec(
        self, request: ScaledObjectRef, context: Any
    ) -> GetMetricSpecResponse:
        """Which metrics there are, and their targets."""
        ...

    async def get_metrics(self, request: GetMetricsRequest, context: Any) -> GetMetricsResponse:
        """The value of one metric."""
        ...

    def stream_metric_spec(
        self, request: ScaledObjectRef, context: Any
    ) -> AsyncIterator[GetMetricSpecResponse]:
        """As :meth:`get_metric_spec`, pushed. Newer than KEDA 2.20."""
        ...


def handler(scaler: ExternalScaler) -> grpc.GenericRpcHandler:
    """The service for ``server.add_generic_rpc_handlers((handler(scaler),))``."""
    calls = {
        "IsActive": _unary(scaler.is_active, ScaledObjectRef, IsActiveResponse),
        "StreamIsActive": _stream(scaler.stream_is_active, IsActiveResponse),
        "GetMetricSpec": _unary(scaler.get_metric_spec, ScaledObjectRef, GetMetricSpecResponse),
        "GetMetrics": _unary(scaler.get_metrics, GetMetricsRequest, GetMetricsResponse),
        "StreamMetricSpec": _stream(scaler.stream_metric_spec, GetMetricSpecResponse),
    }
    return grpc.method_handlers_generic_handler(SERVICE, calls)


def _unary(call: Any, request: Any, response: Any) -> grpc.RpcMethodHandler[Any, Any]:
    return grpc.unary_unary_rpc_method_handler(
        call,
        request_deserializer=request.FromString,
        response_serializer=response.SerializeToString,
    )


def _stream(call: Any, response: Any) -> grpc.RpcMethodHandler[Any, Any]:
    return grpc.unary_stream_rpc_method_handler(
        call,
        request_deserializer=ScaledObjectRef.FromString,
        response_serializer=response.SerializeToString,
    )


class Client:
    """The five calls over one channel. Each raises ``grpc.aio.AioRpcError``.

    *timeout* is in seconds; None waits as long as the channel does, which is what KEDA does.
    """

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._is_active = self._unary(channel, "IsActive", IsActiveResponse)
        self._get_metric_spec = self._unary(channel, "GetMetricSpec", GetMetricSpecResponse)
        self._get_metrics = self._unary(channel, "GetMetrics", GetMetricsResponse)
        self._stream_is_active = self._stream(channel, "StreamIsActive", IsActiveResponse)
        self._stream_metric_spec = self._stream(channel, "StreamMetricSpec", GetMetricSpecResponse)

    async def is_active(self, ref: ScaledObjectRef, timeout: float | None = None) -> bool:  # noqa: ASYNC109 - gRPC's own deadline
        """Whether the target may run at all."""
        answer: IsActiveResponse = await self._is_active(ref, timeout=timeout)
        return answer.result

    async def get_metric_spec(
        self,
        ref: ScaledObjectRef,
        timeout: float | None = None,  # noqa: ASYNC109 - gRPC's own deadline
    ) -> GetMetricSpecResponse:
        """Which metrics there are, and their targets."""
        return cast("GetMetricSpecResponse", await self._get_metric_spec(ref, timeout=timeout))

    async def get_metrics(
        self,
        request: GetMetricsRequest,
        timeout: float | None = None,  # noqa: ASYNC109 - gRPC's own deadline
    ) -> GetMetricsResponse:
        """The value of one metric."""
        return cast("GetMetricsResponse", await self._get_metrics(request, timeout=timeout))

    def stream_is_active(self, ref: ScaledObjectRef) -> AsyncIterator[IsActiveResponse]:
        """A call object: iterate over it, ``cancel()`` it."""
        return cast("AsyncIterator[IsActiveResponse]", self._stream_is_active(ref))

    def stream_metric_spec(self, ref: ScaledObjectRef) -> AsyncIterator[GetMetricSpecResponse]:
        """A call object: iterate over it, ``cancel()`` it."""
        return cast("AsyncIterator[GetMetricSpecResponse]", self._stream_metric_spec(ref))

    @staticmethod
    def _unary(channel: grpc.aio.Channel, name: str, response: Any) -> Any:
        return channel.unary_unary(
            f"/{SERVICE}/{name}",
            request_serializer=_serialize,
            response_deserializer=response.FromString,
        )

    @staticmethod
    def _stream(channel: grpc.aio.Channel, name: str, response: Any) -> Any:
        return channel.unary_stream(
            f"/{SERVICE}/{name}",
            request_serializer=_serialize,
            response_deserializer=response.FromString,
        )


def _serialize(message: Any) -> bytes:
    return cast("bytes", message.SerializeToString())
