"""Sockets that clients connect to."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import ssl
import stat
from collections.abc import Callable
from pathlib import Path

from stoker.errors import ConflictError, InputError
from stoker.gateway.sockets import BACKLOG


def open_sockets(host: str, port: int, number: int, *, shared: bool = False) -> list[socket.socket]:
    """*number* sockets that listen on one port; the kernel spreads connections over them.

    The control process opens them and the gateway processes inherit them: connections that come
    while one of those is restarted wait in its socket. *shared*: the port is ours already.

    Raises:
        ConflictError: somebody has the port, or it is not ours to take.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except socket.gaierror as error:
        why = error.strerror or str(error)
        raise ConflictError(f"the gateway cannot listen on {host}:{port}: {why}") from None
    sockets: list[socket.socket] = []
    try:
        # Without SO_REUSEPORT this fails when anybody listens, another gateway, too.
        family = found[0]
        address: tuple[object, ...] = found[4] if shared else _probe(family, found[4])
        while len(sockets) < number:
            sockets.append(_listening(family, address))
    except OSError as error:
        for opened in sockets:
            opened.close()
        why = os.strerror(error.errno or 0)
        raise ConflictError(
            f"the gateway cannot listen on {host}:{port}: {why}",
            hint="choose another port: `up --gateway-port`, `gateway --port`",
        ) from None
    return sockets


def _probe(family: int, address: tuple[object, ...]) -> tuple[object, ...]:
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)
        found: tuple[object, ...] = probe.getsockname()
        probe.listen(1)
        return found


def _listening(family: int, address: tuple[object, ...]) -> socket.socket:
    opened = socket.socket(family, socket.SOCK_STREAM)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        opened.bind(address)
        opened.listen(BACKLOG)
    except OSError:
        opened.close()
        raise
    return opened


def open_unix_socket(path: Path) -> socket.socket:
    """A socket that listens on *path*, which everybody who may write to it may use.

    Raises:
        ConflictError: it cannot be had.
    """
    with contextlib.suppress(OSError):
        if stat.S_ISSOCK(path.stat().st_mode):
            path.unlink()  # of a process that is gone, or it could not be bound anyway
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        opened.bind(str(path))
        opened.listen(BACKLOG)
    except OSError as error:
        opened.close()
        raise ConflictError(f"the gateway cannot listen on {path}: {error.strerror}") from None
    return opened


def tls_context(certificate: Path, key: Path | None) -> ssl.SSLContext:
    """For a server with *certificate*.

    Raises:
        InputError: the files are not a certificate and its key.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise InputError(
            f"{certificate}: no certificate with its key: {error.strerror or error}",
            hint="PEM files; the key may stand in the same file",
        ) from None
    return context


class CertificateWatch:
    """Loads a certificate again when its file changes; connections that are open keep theirs."""

    def __init__(self, context: ssl.SSLContext, certificate: Path, key: Path | None) -> None:
        self._context = context
        self._files = (certificate, key)
        self._stamp = self._stamp_now()

    def look(self, on_error: Callable[[str], None]) -> None:
        """Load it again if it has changed."""
        stamp = self._stamp_now()
        if stamp == self._stamp:
            return
        self._stamp = stamp
        certificate, key = self._files
        try:
            tls_context(certificate, key)  # a pair that does not fit must not replace one that does
            self._context.load_cert_chain(certificate, key)
        except (InputError, OSError, ssl.SSLError) as error:
            on_error(str(error))

    def _stamp_now(self) -> list[tuple[int, int] | None]:
        stamps: list[tuple[int, int] | None] = []
        for file in self._files:
            try:
                found = file.stat() if file is not None else None
            except OSError:
                found = None
            stamps.append((found.st_mtime_ns, found.st_ino) if found else None)
        return stamps


def raise_file_limit() -> None:
    """As many open files as this user may have: each stream takes two."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
