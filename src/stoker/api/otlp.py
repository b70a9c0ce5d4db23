"""OTLP over gRPC and over HTTP: the two ways in which OpenTelemetry pushes metrics.

*Source*: the OTLP specification 1.9, "OTLP/gRPC" and "OTLP/HTTP".
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from stoker.clock import Clock
from stoker.errors import ConflictError, InputError, MachineError
from stoker.metrics.otlp import wire
from stoker.metrics.otlp.receiver import OtlpReceiver
from stoker.transport.grpc_server import GrpcServer
from stoker.transport.tls import TlsFiles

PATH: Final = "/v1/metrics"
PROMETHEUS_PATH: Final = "/api/v1/otlp/v1/metrics"  # where Prometheus 3 takes it
_PROTOBUF: Final = "application/x-protobuf"
_JSON: Final = "application/json"
_GZIP: Final = b"\x1f\x8b"


# -- gRPC ----------------------------------------------------------------------------------------


def grpc_handler(receiver: OtlpReceiver, clock: Clock) -> Any:
    """``MetricsService`` for a gRPC server. The extra ``stoker[grpc]`` is needed."""
    import grpc  # noqa: PLC0415 - an extra

    async def export(body: bytes, context: Any) -> Any:
        try:
            request = wire.from_protobuf(body)
        except InputError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, error.message)
        outcome = receiver.take(request, clock.now())
        return wire.response(outcome.rejected, outcome.message)

    # The body comes as bytes: what cannot be read is the sender's fault, not an internal error.
    call: Any = grpc.unary_unary_rpc_method_handler(
        export, response_serializer=lambda answer: answer.SerializeToString()
    )
    _, service, method = wire.METHOD.split("/")
    return grpc.method_handlers_generic_handler(service, {method: call})


# -- HTTP ----------------------------------------------------------------------------------------


def http_handler(
    receiver: OtlpReceiver, clock: Clock
) -> Callable[[web.Request], Awaitable[web.Response]]:
    """``POST /v1/metrics``, in any application."""

    async def export(request: web.Request) -> web.Response:
        kind = request.content_type
        if kind not in {_PROTOBUF, _JSON}:
            return web.Response(status=415, text=f"OTLP is {_PROTOBUF} or {_JSON}\n")
        try:
            body = await _body(request)
            message = wire.from_json(body) if kind == _JSON else wire.from_protobuf(body)
        except wire.TooLargeError as error:
            return _refusal(413, error.message, kind)
        except InputError as error:
            return _refusal(400, error.message, kind)
        except MachineError as error:
            return web.Response(status=501, text=f"{error.message}: {error.hint}\n")
        outcome = receiver.take(message, clock.now())
        answer = wire.response(outcome.rejected, outcome.message)
        if kind == _JSON:
            return web.Response(text=wire.to_json(answer), content_type=_JSON)
        return web.Response(body=answer.SerializeToString(), content_type=_PROTOBUF)

    return export


async def _body(request: web.Request) -> bytes:
    """The body, unpacked and within limits. Raises InputError."""
    encoding = request.headers.get("Content-Encoding", "identity").lower()
    if encoding not in {"identity", "gzip"}:
        raise InputError(f"content encoding `{encoding}` is not supported, gzip is")
    body = bytearray()
    async for chunk in request.content.iter_chunked(65536):
        body += chunk
        if len(body) > wire.MAX_MESSAGE_BYTES:
            raise wire.TooLargeError(f"more than {wire.MAX_MESSAGE_BYTES} bytes")
    # an application may have unpacked it already; no message of OTLP begins as gzip does
    return wire.gunzip(bytes(body)) if body.startswith(_GZIP) else bytes(body)


def _refusal(status: int, message: str, kind: str) -> web.Response:
    if kind == _JSON:
        content = {"code": wire.INVALID_ARGUMENT, "message": message}
        return web.json_response(content, status=status)
    body = wire.status(wire.INVALID_ARGUMENT, message)
    return web.Response(status=status, body=body, content_type=_PROTOBUF)


# -- servers -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OtlpServers:
    """The ports. None is off; once started a 0 has become the port that was free."""

    host: str
    grpc_port: int | None
    http_port: int | None
    tls: TlsFiles | None
    stack: AsyncExitStack

    async def close(self) -> None:
        """Stop listening."""
        await self.stack.aclose()

    @property
    def urls(self) -> dict[str, str]:
        """Addresses as ``OTEL_EXPORTER_OTLP_ENDPOINT`` takes them, by protocol."""
        scheme = "http" if self.tls is None else "https"
        ports = {"grpc": self.grpc_port, "http/protobuf": self.http_port}
        return {
            protocol: f"{scheme}://{self.host}:{port}"
            for protocol, port in ports.items()
            if port is not None
        }


async def serve_otlp(
    receiver: OtlpReceiver,
    clock: Clock,
    *,
    host: str,
    grpc_port: int | None,
    http_port: int | None,
    tls: TlsFiles | None = None,
) -> OtlpServers:
    """Listen on the ports that are not None; 0 is a free one.

    Raises:
        ConflictError: a port is taken.
        InputError: certificates cannot be used.
        MachineError: the extra ``stoker[grpc]`` is missing.
    """
    wire.messages()
    async with AsyncExitStack() as stack:
        if grpc_port is not None:
            server = GrpcServer(
                [grpc_handler(receiver, clock)],
                host=host,
                port=grpc_port,
                tls=tls,
                max_message_bytes=wire.MAX_MESSAGE_BYTES,
            )
            await server.start(what="OTLP over gRPC", flag="--otlp-grpc-port")
            stack.push_async_callback(server.stop, 0.5)
            grpc_port = server.port
        if http_port is not None:
            http_port = await _serve_http(receiver, clock, host, http_port, tls, stack)
        return OtlpServers(host, grpc_port, http_port, tls, stack.pop_all())
    raise AssertionError("unreachable: the stack swallows no exception")


async def _serve_http(
    receiver: OtlpReceiver,
    clock: Clock,
    host: str,
    port: int,
    tls: TlsFiles | None,
    stack: AsyncExitStack,
) -> int:
    context = None if tls is None else tls.following_context()
    app = web.Application()
    app.router.add_post(PATH, http_handler(receiver, clock))
    # aiohttp would unpack gzip itself, without a limit
    runner = web.AppRunner(
        app, access_log=None, handle_signals=False, shutdown_timeout=0.5, auto_decompress=False
    )
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    try:
        await web.TCPSite(runner, host, port, ssl_context=context).start()
    except OSError as error:
        raise ConflictError(
            f"OTLP over HTTP cannot listen on {host}:{port}: {os.strerror(error.errno or 0)}",
            hint="choose another port with `--otlp-http-port`; does a collector run here?",
        ) from None
    found: int = runner.addresses[0][1]
    return found
