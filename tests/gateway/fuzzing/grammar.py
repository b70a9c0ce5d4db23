"""Requests and answers, good ones and bad ones, out of any source of randomness."""

from __future__ import annotations

import gzip
import json
import re
from random import Random

from tests.gateway.vectors import AMBIGUOUS, ANSWERS

_METHODS = (b"POST", b"GET", b"HEAD", b"PUT", b"OPTIONS", b"DELETE", b"PRI", b"CONNECT", b"QUERY")
_PATHS = (
    b"/v1/chat/completions", b"/v1/chat/completions", b"/openai/v1/chat/completions",
    b"/engines/m/v1/x?y=1", b"/engines/n/", b"/engines/m", b"/engines/alias/v1/models", b"/health",
    b"/v1/models", b"/v1/models/m", b"/v1/models/%ff%c3", b"/metrics", b"/version", b"/", b"*",
    b"http://a.b/v1/chat/completions", b"http://a.b?x", b"/v1/audio/transcriptions",
    b"/engines/%6d/z",
    b"//engines/m/x", b"/engines/none/x", b"/v1/embeddings#f", b"/engines/m/sleep",
)  # fmt: skip
_LINES = (
    b"X-A: b", b"X-A: \x80\xff", b"X-A:", b"X-A: \t b \t", b"Connection: keep-alive",
    b"Connection: close",
    b"Connection: x-a, close", b"Connection: host, content-length, x-request-id",
    b"Keep-Alive: timeout=5",
    b"Expect: 100-continue", b"Expect: 200-ok", b"X-Request-Id: one", b"X-Request-Id: \x80",
    b"X-Request-Timeout: 500ms", b"X-Request-Timeout: 2", b"X-Request-Timeout: -1",
    b"X-Request-Timeout: " + b"9" * 400, b"X-Stoker-Priority: low", b"X-Stoker-Priority: first",
    b"X-Session-Id: s", b"Content-Encoding: gzip", b"Content-Encoding: br", b"TE: trailers",
    b"Trailer: X-T", b"Upgrade: h2c", b"Connection: upgrade", b"Authorization: Bearer k",
    b"Content-Type: multipart/form-data; boundary=b", b"Accept-Encoding: gzip", b"Host: y",
    b"Transfer-Encoding: identity", b"Proxy-Connection: keep-alive", b"traceparent: 00-1-2-3",
)  # fmt: skip
_SCRAPS = (
    b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\x00", b" ", b":", b"0\r\n\r\n", b"HTTP/1.1", b"HTTP/1.0",
    b"HTTP/2.0", b"RTSP/1.0", b"ICE/1.0", b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Content-Length: 0\r\n", b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n", b"\x0b", b"\x80",
    b"Transfer-Encoding: gzip\r\n", b"Connection: close\r\n", b"\t", b";a=b", b"ffffffffffffffffff",
    b"HTTP/1.1 100 Continue\r\n\r\n", b"Host: x\r\n", b" folded\r\n", b"X-A: b\x0cc\r\n",
)  # fmt: skip


def request(rng: Random, number: int) -> bytes:
    """A request that is good, most of the time."""
    body = _body(rng, number)
    lines = [rng.choice(_LINES) for _ in range(rng.choice((0, 0, 1, 1, 2, 5)))]
    if rng.random() < 0.02:
        lines += [b"X-L: " + b"a" * rng.choice((500, 990, 1100, 2100))]
    if b"Content-Encoding: gzip" in lines and rng.random() < 0.8:
        body = gzip.compress(body, mtime=0)
    path = rng.choice(_PATHS) if rng.random() < 0.6 else _PATHS[0]
    method = rng.choice(_METHODS) if rng.random() < 0.3 else b"POST"
    if path in {b"/health", b"/v1/models", b"/metrics", b"/version"} and rng.random() < 0.7:
        method, body = b"GET", b""
    version = b"HTTP/1.0" if rng.random() < 0.1 else b"HTTP/1.1"
    head = [b"%b %b %b" % (method, path, version), b"Host: x", *lines]
    if rng.random() < 0.3:
        head.append(rng.choice((b"Transfer-Encoding: chunked", b"transfer-encoding:chunked")))
        body = chunked(rng, body)
    elif body or rng.random() < 0.5:
        head.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join((*head, b"", body))


def _body(rng: Random, number: int) -> bytes:
    kind = rng.random()
    if kind < 0.1:
        return b""
    if kind < 0.15:
        return b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nm\r\n--b--\r\n'
    if kind < 0.2:
        return rng.choice(
            (b"{", b"[]", b'{"model": 1}', b'{"model":"none"}', b'{"model":"\\ud800"}')
        )
    fields = {"model": rng.choice(("m", "m", "n", "alias")), "number": number}
    if rng.random() < 0.5:
        fields["stream"] = True
    if rng.random() < 0.1:
        fields["priority"] = rng.choice((-1, 1, "x"))
    if rng.random() < 0.1:
        fields["text"] = "x" * rng.choice((200, 400, 2800, 4000))
    return json.dumps(fields).encode()


def chunked(rng: Random, body: bytes) -> bytes:
    """*body* in chunks, with all that chunks may have."""
    pieces = []
    by_event = rng.random() < 0.5  # a chunk an event, as engines do
    while body:
        size = rng.choice((1, 2, 10, 100, 5000))
        if by_event and (end := body.find(b"\n\n")) >= 0:
            size = end + 2
        piece, body = body[:size], body[size:]
        extension = rng.choice((b"", b"", b"", b";a", b";a=b", b';a="b"'))
        form = rng.choice((b"%x", b"%X", b"0%x"))
        pieces.append(form % len(piece) + extension + b"\r\n" + piece + b"\r\n")
    trailer = rng.choice((b"", b"", b"", b"X-T: t\r\n", b"Host: t\r\n"))
    return b"".join((*pieces, b"0\r\n", trailer, b"\r\n"))


def repeated(rng: Random) -> list[bytes]:
    """A request and others with the same head, as most clients send them."""
    first = request(rng, 0)
    head, _, _ = first.partition(b"\r\n\r\n")
    more = []
    for number in range(1, rng.choice((2, 3, 5))):
        body = _body(rng, number)
        length = b"Content-Length: %d" % len(body)
        more.append(re.sub(rb"Content-Length: \d+", length, head) + b"\r\n\r\n" + body)
    return [first, *more]


def client_bytes(rng: Random) -> bytes:
    """What one client sends: requests one behind the other, and what is none."""
    parts = repeated(rng) if rng.random() < 0.4 else []
    for number in range(rng.choice((1, 1, 2, 3, 6))):
        kind = rng.random()
        if kind < 0.8:
            parts.append(request(rng, number))
        elif kind < 0.95:
            parts.append(rng.choice(tuple(AMBIGUOUS.values())))
        else:
            parts.append(rng.randbytes(rng.choice((1, 20))))
    return mutated(rng, b"".join(parts)) if rng.random() < 0.4 else b"".join(parts)


def mutated(rng: Random, data: bytes) -> bytes:
    """*data* with some mistakes."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(len(changed) + 1)
        kind = rng.randrange(5)
        if kind == 0:
            changed[at:at] = rng.choice(_SCRAPS)
        elif kind == 1:
            del changed[at : at + rng.choice((1, 2, 10))]
        elif kind == 2:
            changed[at : at + 1] = bytes([rng.randrange(256)])
        elif kind == 3:
            changed[at:at] = changed[at : at + rng.choice((1, 4, 40))]
        else:
            line = changed.find(b"\r\n", at)
            if line >= 0:
                changed[line + 2 : line + 2] = rng.choice(_LINES) + b"\r\n"
    return bytes(changed)


def cuts(rng: Random, data: bytes) -> list[bytes]:
    """*data* in pieces."""
    kind = rng.randrange(8)
    if kind == 0 or not data:
        return [data]
    if kind >= 6:  # where requests begin
        return [piece for piece in re.split(rb"(?=(?:POST|GET) /)", data) if piece]
    if kind == 5:
        return re.findall(rb"(?s).+?(?:\n\n\r\n|\r\n\r\n|\Z)", data)  # where chunks and heads end
    if kind == 1:
        size = rng.choice((1, 2, 7, 50))
        return [data[start : start + size] for start in range(0, len(data), size)]
    places = sorted({0, *(rng.randrange(len(data)) for _ in range(kind))})
    return [data[a:b] for a, b in zip(places, [*places[1:], len(data)], strict=True)]


_EVENTS = (
    b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n',
    b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n',
    b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\n',
    b": comment\n\n", b"data: [DONE]\n\n", b"data: x\r\n\r\n",
)  # fmt: skip
_ANSWER_LINES = (
    b"X-A: b", b"Connection: close", b"Connection: keep-alive", b"Keep-Alive: timeout=5",
    b"Connection: x-a", b"X-Request-Id: theirs", b"Trailer: X-T", b"Upgrade: h2c", b"X-B: \x80",
    b"Proxy-Authenticate: x", b"Retry-After: 1", b"Server: s", b"X-A:",
)  # fmt: skip


def good_answer(rng: Random, *, head_only: bool) -> tuple[bytes, bool]:
    """An answer, and whether it ends with the connection."""
    status = rng.choice((200, 200, 200, 200, 201, 422, 404, 500, 503, 204, 304))
    events = rng.random() < 0.5
    body = b"".join(rng.choice(_EVENTS) for _ in range(rng.choice((0, 1, 3, 20))))
    if not events:
        body = rng.choice((b"", b"{}", b'{"usage":{"completion_tokens":3}}', b"x" * 2000))
    lines = [rng.choice(_ANSWER_LINES) for _ in range(rng.choice((0, 0, 1, 3)))]
    lines.append(b"Content-Type: " + (b"text/event-stream" if events else b"application/json"))
    version = rng.choice((b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0"))
    start = b"".join(
        rng.choice((b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 E\r\nLink: x\r\n\r\n"))
        for _ in range(rng.choice((0, 0, 0, 0, 1, 2)))
    )
    closes = False
    if status in {204, 304} and rng.random() < 0.9:
        body = b""
    elif (how := rng.random()) < 0.45:
        lines.append(b"Content-Length: %d" % len(body))
    elif how < 0.9 and version == b"HTTP/1.1":
        lines.append(b"Transfer-Encoding: chunked")
        body = chunked(rng, body)
    else:
        closes = status not in {204, 304}
    if head_only or status in {204, 304}:
        body = b""
    reason = rng.choice((b"OK", b"OK", b"", b"Not so \x80 good"))
    return start + b"\r\n".join(
        (b"%b %d %b" % (version, status, reason), *lines, b"", body)
    ), closes


_USUAL = (
    b"HTTP/1.1 200 OK\r\nServer: s\r\nContent-Length: %d\r\n\r\n%b",
    b"HTTP/1.1 500 No\r\ncontent-length: %d\r\ncontent-type: application/json\r\n\r\n%b",
    b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: %d\r\n\r\n%b",
    b"HTTP/1.1 503 Full\r\nContent-Length: %d\r\n\r\n%b",
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: %d\r\n\r\n%b",
)


def usual_answer(rng: Random, *, head_only: bool) -> bytes:
    """One of few heads, so that they come again."""
    body = b'{"usage":{"completion_tokens":3},"text":"%b"}' % (b"x" * rng.choice((0, 9, 100)))
    if rng.random() < 0.1:
        body = b'{"finish_reason": "abort"}'
    return rng.choice(_USUAL) % (len(body), b"" if head_only else body)


def answer(rng: Random, *, head_only: bool) -> tuple[bytes, bool]:
    """An answer that may be none."""
    if rng.random() < 0.4:
        data = usual_answer(rng, head_only=head_only)
        return (mutated(rng, data) if rng.random() < 0.1 else data), False
    data, closes = good_answer(rng, head_only=head_only)
    kind = rng.random()
    if kind < 0.15:
        return mutated(rng, data), closes
    if kind < 0.25:
        return rng.choice(tuple(ANSWERS.values())), rng.random() < 0.5
    if kind < 0.3:
        return data[: rng.randrange(len(data))], True
    return data, closes
