"""Heads that have been read once need not be read again.

A client that keeps its connection sends the same head with each request, but for the length of the
body; so do all clients of one kind, and so does a replica with its answers. What llhttp and the
checks behind it made of a head holds for the same bytes again: nothing here reads a head that they
have not passed. Only the digits of one Content-Length may differ.
"""

from __future__ import annotations

import re
from typing import Final

import orjson

from stoker.gateway.headers import is_request_id

_LONGEST: Final = 4096  # bytes of a head that is remembered
_MOST: Final = 256  # heads
_DIGITS: Final = 9
_TITLE: Final = b"\r\nContent-Length: "
_LOWER: Final = b"\r\ncontent-length: "

_PLAIN: Final = frozenset({b"content-type", b"traceparent"})
_KSERVE: Final = b"/openai/v1/"  # KServe's Hugging Face server has there what is at /v1/ elsewhere
_ORIGIN: Final = re.compile(rb"https?://[^/?#]*", re.IGNORECASE)
_KEPT_OPEN: Final = frozenset({b"", b"close", b"keep-alive", b"upgrade", b"http2-settings", b"te"})


class Outline:
    """The parts of a message.

    Attributes:
        key: The head without the digits of its Content-Length.
        head: Without the empty line at its end.
        body: What has come of it.
        length: What Content-Length says; -1: there is none.
    """

    __slots__ = ("body", "head", "key", "length")

    def __init__(self, key: bytes, head: bytes, body: bytes, length: int) -> None:
        self.key = key
        self.head = head
        self.body = body
        self.length = length

    @property
    def is_whole(self) -> bool:
        """Whether the body is as long as it should be."""
        return len(self.body) == self.length


def outline(data: bytes) -> Outline | None:
    """The parts of the message that *data* begins with; None: its head is not a common one.

    It is for looking up what was read before: what it says of a head that has not been is nothing
    to rely on. It takes lines apart with what Python does in one step, for it runs with each
    message.
    """
    head, end, body = data.partition(b"\r\n\r\n")
    if not end or len(head) > _LONGEST:
        return None
    before, named, after = head.partition(_TITLE)
    if not named:
        before, named, after = head.partition(_LOWER)
        if not named:
            return Outline(head, head, body, -1)
    digits, _, rest = after.partition(b"\r\n")
    if len(digits) > _DIGITS or not digits.isdigit():
        return None
    return Outline(before + named + rest, head, body, int(digits))


class RequestHead:
    """The head of a request, read and found right.

    Attributes:
        method: As sent.
        path: With the query, as it concerns us: without scheme and host, KServe's prefix resolved.
        bare: The path without the query.
        lines: The headers that are passed on, as lines.
        read: The headers that the gateway reads itself, by lower-case name.
        request_id: The client's, if it may stand in logs; b"": it has none.
        http10: The client speaks HTTP/1.0.
        keep_alive: The connection stays open after the answer.
        shown: Method and path, as members of a JSON object.
        plain: It has none of the headers that change what becomes of the request.
    """

    __slots__ = (
        "_keyed",
        "_open",
        "bare",
        "http10",
        "keep_alive",
        "lines",
        "method",
        "path",
        "plain",
        "read",
        "request_id",
        "shown",
    )

    def __init__(
        self,
        method: bytes,
        url: bytes,
        lines: list[bytes],
        read: dict[bytes, bytes],
        *,
        http10: bool,
        keep_alive: bool,
    ) -> None:
        self.method = method
        self.lines = lines
        self.plain = read.keys() <= _PLAIN
        self.read = read
        self.http10 = http10
        self.keep_alive = keep_alive
        if url[:1] != b"/":  # absolute form; where a request goes is not the client's choice
            url = _ORIGIN.sub(b"", url, count=1) or b"/"
        if url.startswith(_KSERVE):
            url = url[len(_KSERVE) - len(b"/v1/") :]
        self.path = url
        self.bare = url.partition(b"?")[0]
        path = orjson.dumps(self.bare.decode("latin-1")).decode()
        self.shown = f'"method":{orjson.dumps(method.decode("latin-1")).decode()},"path":{path}'
        given = read.get(b"x-request-id", b"")
        self.request_id = given if given and is_request_id(given) else b""
        self._open = b""  # what a replica gets; b"": not put together yet
        self._keyed = b""

    def passed_on(self, path: bytes, *, keyed: bool, plain: bool) -> bytes:
        """What a replica gets of it: request line and headers, up to the name of X-Request-Id.

        Args:
            path: Where the request goes.
            keyed: The gateway has looked at the API key, which stays here.
            plain: The body was unpacked, so it has no Content-Encoding any more.
        """
        if path is not self.path or plain:
            return self._put_together(path, keyed=keyed, plain=plain)
        if keyed:
            if not self._keyed:
                self._keyed = self._put_together(path, keyed=True, plain=False)
            return self._keyed
        if not self._open:
            self._open = self._put_together(path, keyed=False, plain=False)
        return self._open

    def _put_together(self, path: bytes, *, keyed: bool, plain: bool) -> bytes:
        named = self.read.get(b"connection", b"").lower()
        dropped = {token.strip() for token in named.split(b",")} - _KEPT_OPEN
        if keyed:
            dropped |= {b"authorization", b"x-api-key"}
        if plain:
            dropped.add(b"content-encoding")
        lines = self.lines
        if dropped:
            lines = [line for line in lines if line.partition(b":")[0].lower() not in dropped]
        return b"%b %b HTTP/1.1\r\n%bX-Request-Id: " % (self.method, path, b"".join(lines))


class AnswerHead:
    """The head of a replica's answer in one piece, that is passed on as it is."""

    __slots__ = ("status",)

    def __init__(self, status: int) -> None:
        self.status = status


class RequestHeads:
    """Heads of requests that came before, by `Outline.key`.

    Args:
        most: How many; then all are forgotten, for most were of clients that are gone.
    """

    __slots__ = ("_heads", "_most")

    def __init__(self, most: int = _MOST) -> None:
        self._heads: dict[bytes, RequestHead] = {}
        self._most = most

    def find(self, key: bytes) -> RequestHead | None:
        """The head with *key*."""
        return self._heads.get(key)

    def learn(self, key: bytes, head: RequestHead) -> None:
        """*head* has been read and has *key*."""
        if len(self._heads) >= self._most:
            self._heads.clear()
        if self._most:
            self._heads[key] = head

    def forget(self) -> None:
        """Heads have API keys: they are not kept for longer than they are of use."""
        self._heads.clear()


class AnswerHeads:
    """Heads of answers that came before, by `Outline.key`; *most* as of requests."""

    __slots__ = ("_heads", "_most")

    def __init__(self, most: int = _MOST) -> None:
        self._heads: dict[bytes, AnswerHead] = {}
        self._most = most

    def find(self, key: bytes) -> AnswerHead | None:
        """The head with *key*."""
        return self._heads.get(key)

    def learn(self, key: bytes, head: AnswerHead) -> None:
        """*head* has been read and has *key*."""
        if len(self._heads) >= self._most:
            self._heads.clear()
        if self._most:
            self._heads[key] = head
