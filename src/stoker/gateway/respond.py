"""Answers that the gateway writes itself."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stoker.gateway.exchange import Exchange
    from stoker.gateway.openai import Refusal

_PHRASES = {status.value: status.phrase.encode() for status in HTTPStatus}

#: The head of a stream that begins before its replica answers.
EVENTS_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
    b"Cache-Control: no-cache\r\nTransfer-Encoding: chunked\r\nX-Request-Id: %b\r\n\r\n"
)


def chunk(data: bytes) -> bytes:
    """*data* as one chunk of a body in chunks."""
    return b"%x\r\n%b\r\n" % (len(data), data)


#: One line break: with two, openai-python takes the comment for an event without data.
HEARTBEAT = chunk(b": the model is starting\n")
#: For clients whose idle timers do not count comments.
HEARTBEAT_CHUNK = chunk(
    b'data: {"id":"","object":"chat.completion.chunk","created":0,"model":"",'
    b'"choices":[{"index":0,"delta":{},"finish_reason":null}]}\n\n'
)


def answer(
    exchange: Exchange,
    status: int,
    body: bytes,
    *,
    content_type: bytes = b"application/json",
    refusal: Refusal | None = None,
) -> bytes:
    """The whole answer to *exchange*."""
    lines = [
        b"HTTP/1.1 %d %b" % (status, _PHRASES.get(status, b"")),
        b"Content-Type: " + content_type,
        b"Content-Length: %d" % len(body),
    ]
    if exchange.request_id:
        lines.append(b"X-Request-Id: " + exchange.request_id)
    if refusal is not None and refusal.retry_after is not None:
        lines.append(b"Retry-After: %d" % refusal.retry_after)
    if refusal is not None and status == 405 and refusal.param:
        lines.append(b"Allow: " + refusal.param.encode())
    if refusal is not None and status == 401:
        lines.append(b"WWW-Authenticate: Bearer")
    if not exchange.keep_alive:
        lines.append(b"Connection: close")
    elif exchange.http10:
        lines.append(b"Connection: keep-alive")
    head = b"\r\n".join((*lines, b"", b""))
    return head if exchange.method == b"HEAD" else head + body
