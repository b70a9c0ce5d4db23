"""Heads of requests and answers: which lines are passed on, and what the gateway reads itself."""

from __future__ import annotations

import re

#: For one connection only (RFC 9110, 7.6.1), or written anew.
_DROPPED = frozenset(
    {
        b"connection",
        b"content-length",
        b"expect",
        b"host",
        b"http2-settings",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"x-request-id",
    }
)
#: Read by the gateway and passed on.
_READ = frozenset(
    {
        b"authorization",
        b"content-encoding",
        b"content-type",
        b"traceparent",
        b"x-api-key",
        b"x-request-timeout",
        b"x-session-id",
        b"x-stoker-priority",
    }
)
#: What happens to a header, by its lower-case name; 0 of others: passed on, not looked at.
KIND: dict[bytes, int] = dict.fromkeys(_DROPPED, 1) | dict.fromkeys(_READ, 2)

_HOP_BY_HOP = re.compile(
    rb"\r\n(?:connection|keep-alive|proxy-[a-z]+|te|trailer|upgrade|x-request-id):", re.IGNORECASE
)
_NOT_PASSED = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"upgrade",
    }
)
_FRAMING = frozenset({b"content-length", b"transfer-encoding"})
_PRINTABLE = re.compile(rb"[!-~]{1,128}")


def is_request_id(value: bytes) -> bool:
    """Whether a client's X-Request-Id may stand in logs and heads."""
    return _PRINTABLE.fullmatch(value) is not None


def value_of(head: bytes, lower: bytes, name: bytes) -> bytes:
    """The first value of header *name* (lower case) in a head that llhttp has found right."""
    at = lower.find(b"\r\n" + name + b":")
    if at < 0:
        return b""
    start = at + len(name) + 3
    return head[start : head.index(b"\r\n", start)].strip()


def is_verbatim(head: bytes) -> bool:
    """Whether a client gets the head of an answer as it is, with an X-Request-Id added."""
    return head.startswith(b"HTTP/1.1 ") and _HOP_BY_HOP.search(head) is None


def passed_on(head: bytes, request_id: bytes, *, framing: bool = True) -> bytes:
    """The head of an answer for the client: status line and end-to-end headers, no empty line.

    Args:
        head: As it came, up to and with the line break of its last line.
        request_id: Added unless the replica has sent one.
        framing: Whether its Content-Length and Transfer-Encoding hold for the client, too.
    """
    if framing and _HOP_BY_HOP.search(head) is None:
        return b"HTTP/1.1" + head[8:] + b"X-Request-Id: " + request_id + b"\r\n"
    status, *lines = head.removesuffix(b"\r\n").split(b"\r\n")
    named: set[bytes] = set()
    has_id = False
    for line in lines:
        name, _, value = line.partition(b":")
        if name.lower() == b"connection":
            named.update(token.strip().lower() for token in value.split(b","))
        has_id = has_id or name.lower() == b"x-request-id"
    dropped = _NOT_PASSED | named | (frozenset() if framing else _FRAMING)
    if framing:
        dropped -= _FRAMING
    kept = [line for line in lines if line.partition(b":")[0].lower() not in dropped]
    if not has_id:
        kept.append(b"X-Request-Id: " + request_id)
    return b"\r\n".join((b"HTTP/1.1" + status[8:], *kept, b""))
