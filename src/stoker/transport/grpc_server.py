"""A gRPC server on asyncio, with what all of Stoker's have: one port, limits, TLS, health."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Sequence
from typing import Any, Final

from stoker.errors import ConflictError, MachineError
from stoker.transport.tls import TlsFiles

_log = logging.getLogger(__name__)
MAX_MESSAGE_BYTES: Final = 16 * 2**20


class GrpcServer:
    """Serves *handlers* on *host*:*port*; 0 is a free port.

    Args:
        handlers: ``grpc.GenericRpcHandler``.
        host: address to listen on.
        port: where to listen.
        tls: None is plain text.
        max_message_bytes: a longer request is refused with RESOURCE_EXHAUSTED.
        register: adds services that come with registering functions of their own.
    """

    def __init__(
        self,
        handlers: Sequence[Any],
        *,
        host: str,
        port: int,
        tls: TlsFiles | None = None,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
        register: Callable[[Any], None] = lambda _: None,
    ) -> None:
        self.host = host
        self.port = port
        self._tls = tls
        self._server = _grpc_aio().server(
            handlers=tuple(handlers),
            options=(
                ("grpc.so_reuseport", 0),  # a taken port is an error, not a lottery
                ("grpc.max_receive_message_length", max_message_bytes),
            ),
        )
        register(self._server)

    async def start(self, *, what: str, flag: str) -> None:
        """Listen. *what* and *flag* are for the error when the port is taken.

        Raises:
            ConflictError: somebody else listens there.
            InputError: certificates cannot be used.
        """
        address = f"{self.host}:{self.port}"
        hint = f"choose another port with `{flag}`; `ss -ltnp` shows who listens"
        reason = _why_not(self.host, self.port)
        try:
            if reason:
                raise RuntimeError(reason)
            if self._tls is None:
                self.port = self._server.add_insecure_port(address)
            else:
                self.port = self._server.add_secure_port(address, _credentials(self._tls))
        except RuntimeError as error:
            await self._server.stop(None)
            raise ConflictError(f"{what} cannot listen on {address}: {error}", hint=hint) from None
        await self._server.start()

    async def stop(self, grace: float = 0.0) -> None:
        """Take no more calls and wait *grace* seconds for those that run."""
        await self._server.stop(grace)


def _why_not(host: str, port: int) -> str:
    """Why nobody can listen there, "" if one can. gRPC itself would tell it on stderr alone."""
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _grpc_aio() -> Any:
    try:
        import grpc.aio  # noqa: PLC0415 - an extra, and 20 MB
    except ImportError as error:
        raise MachineError("gRPC is not installed", hint="pip install 'stoker[grpc]'") from error
    return grpc.aio


def _credentials(files: TlsFiles) -> Any:
    """Credentials that follow the files. Raises InputError."""
    import grpc  # noqa: PLC0415 - an extra

    version = files.version()

    def configuration() -> Any:
        pair = files.read()
        return grpc.ssl_server_certificate_configuration(
            [(pair.key, pair.certificate)], root_certificates=pair.client_ca
        )

    def newest() -> Any:
        nonlocal version
        seen = files.version()
        if seen == version:
            return None  # what there is stays
        version = seen
        try:
            return configuration()
        except Exception as error:  # noqa: BLE001 - whatever is wrong, the old pair serves on
            _log.warning("certificates stay as they were: %s", error)
            return None

    return grpc.dynamic_ssl_server_credentials(
        configuration(), newest, require_client_authentication=files.client_ca is not None
    )
