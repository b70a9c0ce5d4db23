"""Certificates of a server: read, checked, and read again when the files change.

Kubernetes and cert-manager replace mounted certificates in place. Each new connection therefore
looks at the files' times; a pair that does not fit is left aside until it does, and the old one
goes on serving.
"""

from __future__ import annotations

import logging
import ssl
from dataclasses import dataclass
from pathlib import Path

from stoker.errors import InputError, Place

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files. With *client_ca* a client must show a certificate that it signed (mTLS)."""

    certificate: Path
    key: Path
    client_ca: Path | None = None

    def read(self) -> TlsPair:
        """Their contents. Raises InputError with the file that cannot be used."""
        pair = TlsPair(
            _read(self.certificate),
            _read(self.key),
            None if self.client_ca is None else _read(self.client_ca),
        )
        self.context()
        return pair

    def context(self) -> ssl.SSLContext:
        """For servers that take Python's own. Raises InputError."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._load(context)
        return context

    def following_context(self) -> ssl.SSLContext:
        """As :meth:`context`, with the files as they are when a connection begins."""
        first = current = self.context()
        version = self.version()

        def choose(
            connection: ssl.SSLSocket | ssl.SSLObject, _: str | None, __: ssl.SSLContext
        ) -> None:
            nonlocal current, version
            newest = self.version()
            if newest != version:
                version = newest
                try:
                    current = self.context()
                except InputError as error:
                    _log.warning("certificates stay as they were: %s", error)
            connection.context = current

        first.sni_callback = choose
        return first

    def version(self) -> tuple[int, ...]:
        """Changes when a file does; a file that is missing counts as 0."""
        files = [self.certificate, self.key]
        if self.client_ca is not None:
            files.append(self.client_ca)
        return tuple(_changed(file) for file in files)

    def _load(self, context: ssl.SSLContext) -> None:
        _read(self.certificate)
        _read(self.key)
        try:
            context.load_cert_chain(self.certificate, self.key, password=_no_password)
        except ssl.SSLError as error:
            raise InputError(
                f"certificate and key cannot be used: {_reason(error)}",
                hint=f"the key of `{self.certificate}` is expected in `{self.key}`, both PEM",
                place=Place(str(self.certificate)),
            ) from None
        if self.client_ca is None:
            return
        _read(self.client_ca)
        try:
            context.load_verify_locations(self.client_ca)
        except ssl.SSLError as error:
            raise InputError(
                f"not a certificate authority: {_reason(error)}",
                hint="a PEM file with the certificates that sign those of clients",
                place=Place(str(self.client_ca)),
            ) from None
        context.verify_mode = ssl.CERT_REQUIRED


@dataclass(frozen=True, slots=True, repr=False)
class TlsPair:
    """What stands in the files. Has no repr, because there is a key in it."""

    certificate: bytes
    key: bytes
    client_ca: bytes | None


def _no_password() -> str:
    raise InputError("the key has a password", hint="write it without: openssl pkey -in KEY")


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError(f"cannot be read: {reason}", place=Place(str(file))) from None


def _changed(file: Path) -> int:
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return 0


def _reason(error: ssl.SSLError) -> str:
    return (error.reason or str(error)).lower().replace("_", " ")
