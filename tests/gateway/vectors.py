"""Requests and answers that have more than one reading.

Each is what one hop may take for one message and another for two. They follow the test data of
llhttp and h11 and the advisories of those who were bitten.
"""

from __future__ import annotations

BODY = b'{"model": "m", "messages": []}'
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"

AMBIGUOUS = {
    "length and chunks": HEAD
    + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    + SMUGGLED,
    "chunks and length": HEAD
    + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n"
    + SMUGGLED,
    "two lengths": HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}x",
    "the same length twice": HEAD + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    "a list of lengths": HEAD + b"Content-Length: 2, 2\r\n\r\n{}",
    "a signed length": HEAD + b"Content-Length: +2\r\n\r\n{}",
    "a length in hexadecimal": HEAD + b"Content-Length: 0x2\r\n\r\n{}",
    "a length with a blank before the colon": HEAD + b"Content-Length : 2\r\n\r\n{}",
    "an unknown coding": HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "a coding behind chunked": HEAD + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "a coding before chunked": HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked twice": HEAD
    + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked behind a control character": HEAD + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "chunks in HTTP/1.0": HEAD.replace(b"1.1", b"1.0")
    + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a folded line": HEAD + b"X-A: b\r\n Content-Length: 2\r\n\r\n{}",
    "a bare line feed in the head": HEAD + b"X-A: b\nContent-Length: 2\r\n\r\n{}",
    "a bare carriage return": HEAD + b"X-A: b\rContent-Length: 2\r\n\r\n{}",
    "a NUL in a value": HEAD + b"X-A: \x00\r\nContent-Length: 2\r\n\r\n{}",
    "a blank before a name": HEAD + b" X-A: b\r\nContent-Length: 2\r\n\r\n{}",
    "an empty name": HEAD + b": b\r\nContent-Length: 2\r\n\r\n{}",
    "a bare line feed behind a chunk's size": HEAD
    + b"Transfer-Encoding: chunked\r\n\r\n2\n{}\r\n0\r\n\r\n",
    "a negative chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n{}\r\n0\r\n\r\n",
    "a chunk that is longer than it says": HEAD
    + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{}\r\n0\r\n\r\n",
    "two hosts": b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nHost: y\r\n"
    b"Content-Length: 2\r\n\r\n{}",
    "no host": b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}",
    "HTTP/2 without TLS": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/0.9": b"GET /health\r\n\r\n",
    "a version to come": b"GET /health HTTP/2.0\r\nHost: x\r\n\r\n",
    "a proxy's request": b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n",
    "a coding before chunked, on a line of its own": HEAD
    + b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "an empty coding": HEAD + b"Transfer-Encoding:\r\nContent-Length: 2\r\n\r\n{}",
    "an empty length": HEAD + b"Content-Length:\r\n\r\n{}",
    "a length beyond all numbers": HEAD + b"Content-Length: 18446744073709551617\r\n\r\n{}",
    "a coding behind a vertical tab": HEAD + b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    "a name with a control character": HEAD + b"Content\x00-Length: 2\r\n\r\n{}",
    "a line without a colon": HEAD + b"Content-Length\r\n\r\n{}",
    "a chunk's size beyond all numbers": HEAD
    + b"Transfer-Encoding: chunked\r\n\r\n10000000000000002\r\n{}\r\n0\r\n\r\n",
    "a chunk's size behind a blank": HEAD
    + b"Transfer-Encoding: chunked\r\n\r\n 2\r\n{}\r\n0\r\n\r\n",
    "a chunk's size in C": HEAD + b"Transfer-Encoding: chunked\r\n\r\n0x2\r\n{}\r\n0\r\n\r\n",
    "a line feed in a chunk's extension": HEAD
    + b"Transfer-Encoding: chunked\r\n\r\n2;a=\n5\r\n{}\r\n0\r\n\r\n",
    "a chunk without its line break": HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}0\r\n\r\n",
    "a length in a trailer": HEAD
    + b"Transfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 3\r\n\r\n",
    "a radio's protocol": b"SOURCE /health ICE/1.0\r\nHost: x\r\n\r\n",
    "a target that is not ASCII": b"GET /v1/models/\xff HTTP/1.1\r\nHost: x\r\n\r\n",
}

_OK = b"HTTP/1.1 200 OK\r\n"
_CHUNKED = _OK + b"Transfer-Encoding: chunked\r\n"
ANSWERS = {
    "both": _OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "lengths": _OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "feeds": b"HTTP/1.1 200 OK\nContent-Length: 2\n\n{}",
    "gzip": _OK + b"Transfer-Encoding: gzip\r\n\r\nxx",
    "upgrade": b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
    "two": _OK + b"Content-Length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\n\r\nsmuggled",
    "garbage": b"\x00\x01\x02",
    "endless": _OK + b"X-A: " + b"a" * 70_000,
    "a coding behind chunked, on a line of its own": _CHUNKED
    + b"Transfer-Encoding: gzip\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "line breaks before the head": b"\r\n\r\n" + _OK + b"Content-Length: 2\r\n\r\n{}",
    "a line break behind an interim answer": b"HTTP/1.1 100 Continue\r\n\r\n\r\n"
    + _OK
    + b"Content-Length: 2\r\n\r\n{}",
    "line breaks behind the end": _OK + b"Content-Length: 2\r\n\r\n{}\r\n\r\n",
    "half a line break behind the end": _OK + b"Content-Length: 2\r\n\r\n{}\r",
    "line breaks behind the last chunk": _CHUNKED + b"\r\n2\r\n{}\r\n0\r\n\r\n\r\n",
    "another protocol": b"RTSP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    "a radio's protocol": b"ICE/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    "a control character in the reason": b"HTTP/1.1 200 O\x00K\r\nContent-Length: 2\r\n\r\n{}",
    "a body where there must be none": b"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\n{}",
}
