"""What others read in the bytes: h11 and llhttp, each a message at a time."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field

import h11
import httptools

_ROOM = 1 << 24


@dataclass
class Seen:
    """A request, or an answer, as a reader sees it."""

    method: bytes = b""
    target: bytes = b""
    version: bytes = b""
    status: int = 0
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""
    whole: bool = False
    interim: int = 0  # how many 1xx came before it

    def values(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.headers if key.lower() == name]


def requests_by_h11(data: bytes) -> tuple[list[Seen], str]:
    """The whole requests in *data*, and why there are no more: "" when it just ends."""
    found: list[Seen] = []
    while data:
        reader = h11.Connection(h11.SERVER, max_incomplete_event_size=_ROOM)
        reader.receive_data(data)
        try:
            one = _request(reader)
        except h11.RemoteProtocolError as error:
            return found, str(error)
        if one is None:
            return found, ""
        found.append(one)
        data = reader.trailing_data[0]
    return found, ""


def _request(reader: h11.Connection) -> Seen | None:
    one, body = Seen(), []
    while True:
        event = reader.next_event()
        if isinstance(event, h11.Request):
            one.method, one.target = event.method, event.target
            one.version, one.headers = event.http_version, list(event.headers)
        elif isinstance(event, h11.Data):
            body.append(bytes(event.data))
        elif isinstance(event, h11.EndOfMessage):
            one.body, one.whole = b"".join(body), True
            return one
        else:
            return None  # more is needed


class _Llhttp:
    def __init__(self) -> None:
        self.begun = 0
        self.found: list[Seen] = []
        self.parser = httptools.HttpRequestParser(self)

    def on_message_begin(self) -> None:
        self.begun += 1
        self.one = Seen()

    def on_url(self, url: bytes) -> None:
        self.one.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.one.headers.append((name, value))

    def on_headers_complete(self) -> None:
        self.one.method = self.parser.get_method()

    def on_body(self, body: bytes) -> None:
        self.one.body += body

    def on_message_complete(self) -> None:
        self.found.append(self.one)


def requests_by_llhttp(data: bytes) -> tuple[list[Seen], int]:
    """The whole requests in *data*, and how many have begun."""
    reader = _Llhttp()
    with contextlib.suppress(httptools.HttpParserError, httptools.HttpParserUpgrade):
        reader.parser.feed_data(data)
    return reader.found, reader.begun


def answers_by_h11(data: bytes, methods: list[bytes], *, closed: bool) -> list[Seen]:
    """The answers in *data* to requests of *methods*; the last may not be whole.

    Raises AssertionError: this is not what a client of HTTP/1.1 can read.
    """
    found: list[Seen] = []
    while data:
        assert not found or found[-1].whole
        last = bool(found) and b"close" in b",".join(found[-1].values(b"connection")).lower()
        assert not last, f"more after the last answer: {data[:80]!r}"
        reader = h11.Connection(h11.CLIENT, max_incomplete_event_size=_ROOM)
        method = methods[len(found)] if len(found) < len(methods) else b"GET"
        asked = b"GET" if method == b"CONNECT" else method
        reader.send(h11.Request(method=asked, target=b"/", headers=[(b"Host", b"x")]))
        reader.send(h11.EndOfMessage())
        reader.receive_data(data)
        if closed:
            reader.receive_data(b"")
        one = Seen()
        try:
            _read_answer(reader, one)
        except h11.RemoteProtocolError as error:
            if "closed connection" not in str(error) and "ConnectionClosed" not in str(error):
                raise AssertionError(f"{error}: {data[:200]!r}") from None
        found.append(one)
        data = reader.trailing_data[0] if one.whole else b""
    return found


def _read_answer(reader: h11.Connection, one: Seen) -> None:
    body = []
    while True:
        event = reader.next_event()
        if isinstance(event, h11.InformationalResponse):
            one.interim += 1
        elif isinstance(event, h11.Response):
            one.status, one.headers = event.status_code, list(event.headers)
        elif isinstance(event, h11.Data):
            body.append(bytes(event.data))
            one.body = b"".join(body)
        else:
            one.whole = isinstance(event, h11.EndOfMessage)
            return
