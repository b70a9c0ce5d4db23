"""Connections that triggers share, and TLS as KEDA sets it up.

Two hundred triggers that ask one server use one HTTP session, one Redis client, one channel. What
belongs together is found by a key; the last user's release closes it.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import tempfile
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Generic, Self, TypeVar

from stoker.errors import StokerError

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class _Shared:
    value: Any
    close: Callable[[], Awaitable[object]]
    users: int = 0


class Lease(Generic[T]):
    """The right to use something shared, until it is released."""

    def __init__(self, pool: Pool, key: Hashable, value: T) -> None:
        self.value = value
        self._pool = pool
        self._key: Hashable | None = key

    async def release(self) -> None:
        """Give it back; a second time does nothing."""
        key, self._key = self._key, None
        if key is not None:
            await self._pool.give_back(key)


class Pool:
    """What triggers share, by what it connects to."""

    def __init__(self) -> None:
        self._shared: dict[Hashable, _Shared] = {}

    def __len__(self) -> int:
        return len(self._shared)

    def lease(
        self, key: Hashable, make: Callable[[], tuple[T, Callable[[], Awaitable[object]]]]
    ) -> Lease[T]:
        """What *key* stands for; *make* makes it, and gives how it is closed."""
        # a shared thing belongs to one event loop: another loop cannot use its sockets
        key = (asyncio.get_running_loop(), key)
        found = self._shared.get(key)
        if found is None:
            value, close = make()
            found = self._shared[key] = _Shared(value, close)
        found.users += 1
        return Lease(self, key, found.value)

    async def give_back(self, key: Hashable) -> None:
        """One user less; the last one closes."""
        found = self._shared.get(key)
        if found is None:
            return
        found.users -= 1
        if found.users <= 0:
            del self._shared[key]
            await found.close()

    async def close(self) -> None:
        """Close everything, used or not."""
        shared, self._shared = list(self._shared.values()), {}
        for one in shared:
            await one.close()


@dataclass(frozen=True, slots=True)
class Tls:
    """Certificates as PEM texts. Nothing given: the authorities of this machine are trusted."""

    ca: str = field(default="", repr=False)
    cert: str = field(default="", repr=False)
    key: str = field(default="", repr=False)
    key_password: str = field(default="", repr=False)
    unsafe: bool = False  # unsafeSsl: the server's certificate is not looked at

    def context(self) -> ssl.SSLContext:
        """For a client, TLS 1.2 at least. The same certificates give the same context.

        Raises:
            StokerError: a text is no certificate or key, or they do not belong together.
        """
        return _context(self)

    def make_context(self) -> ssl.SSLContext:
        """A new context; :meth:`context` is the one to use."""
        context = ssl.create_default_context()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.unsafe:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.ca:
            try:
                context.load_verify_locations(cadata=self.ca)
            except ssl.SSLError:
                raise StokerError(
                    "the `ca` is no PEM certificate",
                    hint="it begins with -----BEGIN CERTIFICATE-----, line breaks included",
                ) from None
        if self.cert or self.key:
            self._load_pair(context)
        return context

    def _load_pair(self, context: ssl.SSLContext) -> None:
        if not (self.cert and self.key):
            raise StokerError("both key and certificate must be provided")
        with PrivateFile(self.cert) as cert, PrivateFile(self.key) as key:
            try:
                context.load_cert_chain(cert.path, key.path, password=lambda: self.key_password)
            except (ssl.SSLError, ValueError) as error:
                why = getattr(error, "reason", None) or "not PEM"
                raise StokerError(
                    f"error parse X509KeyPair: {str(why).replace('_', ' ').lower()}",
                    hint="`cert` and `key` are PEM texts of one pair; `keyPassword` opens the key",
                ) from None


@lru_cache(maxsize=64)
def _context(tls: Tls) -> ssl.SSLContext:
    """Reading the machine's authorities takes 20 ms, which a failing trigger would spend twice."""
    return tls.make_context()


class PrivateFile:
    """A file for libraries that take nothing else. On Linux it never touches a disk."""

    def __init__(self, text: str) -> None:
        if hasattr(os, "memfd_create"):
            self._descriptor = os.memfd_create("stoker")
            self._file: str | None = None
            self.path = f"/proc/self/fd/{self._descriptor}"
        else:  # pragma: no cover - not Linux
            self._descriptor, self.path = tempfile.mkstemp()
            self._file = self.path
        os.write(self._descriptor, text.encode())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Forget it."""
        if self._descriptor < 0:
            return
        os.close(self._descriptor)
        self._descriptor = -1
        if self._file is not None:  # pragma: no cover - not Linux
            os.unlink(self._file)  # noqa: PTH108 - a path that mkstemp gave
