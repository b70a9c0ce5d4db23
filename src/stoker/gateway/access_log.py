"""The access log: a line of JSON for each request, without bodies and without keys."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING

import orjson

from stoker.clock import rfc3339

if TYPE_CHECKING:
    from stoker.gateway.exchange import Exchange

_FLUSH_AT = 1 << 16


class AccessLog:
    """Appends to *path*, which may be moved away: it is opened anew when it is gone."""

    def __init__(self, path: Path, epoch: Callable[[], float]) -> None:
        self._path = path
        self._epoch = epoch
        self._lines: list[bytes] = []
        self._size = 0
        self._second = -1
        self._time = ""
        self._file: IO[bytes] = path.open("ab", buffering=0)
        self._inode = path.stat().st_ino

    def write(self, exchange: Exchange, status: int, now: float) -> None:
        """Note that *exchange* is over."""
        second = int(self._epoch())
        if second != self._second:
            self._second, self._time = second, rfc3339(second)
        inbound = exchange.inbound
        peer = inbound.peer if inbound is not None else None
        line: bytes = orjson.dumps(
            {
                "time": self._time,
                "request_id": exchange.request_id.decode("latin-1"),
                "client": peer,
                "method": exchange.method.decode("latin-1"),
                "path": exchange.path.partition(b"?")[0].decode("latin-1"),
                "model": exchange.model or None,
                "key": exchange.sender_name,
                "status": status,
                "replica": exchange.replica or None,
                "retries": exchange.retries,
                "held": round(exchange.waited, 4),
                "duration": round(now - exchange.began, 4),
                "bytes_in": exchange.size,
                "bytes_out": exchange.size_out,
            },
            option=orjson.OPT_APPEND_NEWLINE,
        )
        self._lines.append(line)
        self._size += len(line)
        if self._size >= _FLUSH_AT:
            self.flush()

    def flush(self) -> None:
        """Write what has gathered."""
        if not self._lines or self._file.closed:
            return
        data = b"".join(self._lines)
        self._lines.clear()
        self._size = 0
        try:
            if self._path.stat().st_ino != self._inode:
                raise FileNotFoundError
        except FileNotFoundError:
            self._file.close()
            self._file = self._path.open("ab", buffering=0)
            self._inode = self._path.stat().st_ino
        self._file.write(data)

    def close(self) -> None:
        """Write what is left."""
        self.flush()
        self._file.close()
