"""The access log: a line of JSON for each request, without bodies and without keys."""

from __future__ import annotations

from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

import orjson

from stoker.clock import rfc3339

if TYPE_CHECKING:
    from stoker.gateway.exchange import Exchange

_FLUSH_AT: Final = 1 << 16
_MOST_NAMES: Final = 4096  # of clients, models, keys and replicas that are remembered


class AccessLog:
    """Appends to *path*, which may be moved away: it is opened anew when it is gone.

    Args:
        path: The file.
        offset: Seconds from the machine's steady clock to the epoch.
    """

    def __init__(self, path: Path, offset: float) -> None:
        self._path = path
        self._offset = offset
        self._lines: list[str] = []
        self._names: dict[str, str] = {}  # in JSON
        self._size = 0
        self._second = -1
        self._time = ""
        self._file: IO[bytes] = path.open("ab", buffering=0)
        self._inode = path.stat().st_ino

    def write(self, exchange: Exchange, status: int, now: float) -> None:
        """Note that *exchange* is over."""
        second = int(now + self._offset)
        if second != self._second:
            self._second, self._time = second, rfc3339(second)
        inbound = exchange.inbound
        peer = inbound.peer if inbound is not None else None
        line = (
            f'{{"time":"{self._time}","request_id":{_quoted_id(exchange.request_id)},'
            f'"client":{self._quoted(peer)},{exchange.asked.shown},'
            f'"model":{self._quoted(exchange.model or None)},'
            f'"key":{self._quoted(exchange.sender_name)},"status":{status},'
            f'"replica":{self._quoted(exchange.replica or None)},"retries":{exchange.retries},'
            f'"held":{_seconds(exchange.waited)},"duration":{_seconds(now - exchange.began)},'
            f'"bytes_in":{exchange.size},"bytes_out":{exchange.size_out}}}\n'
        )
        self._lines.append(line)
        self._size += len(line)
        if self._size >= _FLUSH_AT:
            self.flush()

    def _quoted(self, name: str | None) -> str:
        """*name* in JSON. There are few, and each comes often."""
        if name is None:
            return "null"
        quoted = self._names.get(name)
        if quoted is None:
            if len(self._names) >= _MOST_NAMES:
                self._names.clear()
            quoted = self._names[name] = orjson.dumps(name).decode()
        return quoted

    def flush(self) -> None:
        """Write what has gathered."""
        if not self._lines or self._file.closed:
            return
        data = "".join(self._lines).encode()
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


def _quoted_id(request_id: bytes) -> str:
    """A request's identity in JSON: it is printable ASCII."""
    text = request_id.decode("ascii")
    if '"' in text or "\\" in text:
        return orjson.dumps(text).decode()
    return f'"{text}"'


def _seconds(value: float) -> str:
    """*value*, not negative, to a tenth of a millisecond."""
    tenths = int(value * 10_000 + 0.5)
    return f"{tenths // 10_000}.{str(tenths % 10_000 + 10_000)[1:]}"
