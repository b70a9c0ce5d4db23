"""A replica that can be killed: ``python replica.py MODE``, which prints its port.

Modes: ``well``; ``silent`` takes requests and never answers; ``reset`` closes each connection when
it has the request; ``garbage`` answers something that is not HTTP. Standard library only: hundreds
of these are started.
"""

from __future__ import annotations

import asyncio
import sys

CHUNKS = 6
PAUSE = 0.02
EVENT = b'data: {"choices":[{"delta":{"content":"%d"}}]}\n\n'


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class Replica:
    def __init__(self, mode: str) -> None:
        self.mode = mode

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lower = head.lower()
                length = 0
                if b"content-length:" in lower:
                    length = int(lower.split(b"content-length:")[1].split(b"\r\n")[0])
                body = await reader.readexactly(length)
                await self.answer(head, body, writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def answer(self, head: bytes, body: bytes, writer: asyncio.StreamWriter) -> None:
        if self.mode == "silent":
            await asyncio.sleep(3600)
        if self.mode == "reset":
            writer.transport.abort()
            raise ConnectionResetError
        if self.mode == "garbage":
            writer.write(b"\x00\x16 this is no HTTP\r\n\r\n" * 3)
            raise ConnectionResetError
        if head.startswith(b"GET /health"):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            return
        if b'"stream": true' not in body:
            await asyncio.sleep(PAUSE)
            answer = b'{"usage":{"completion_tokens":%d}}' % CHUNKS
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
            writer.write(b"Content-Length: %d\r\n\r\n%b" % (len(answer), answer))
            return
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n")
        writer.write(b"Transfer-Encoding: chunked\r\n\r\n")
        for number in range(CHUNKS):
            writer.write(chunk(EVENT % number))
            await writer.drain()
            await asyncio.sleep(PAUSE)
        writer.write(chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")


async def main() -> None:
    server = await asyncio.start_server(Replica(sys.argv[1]).serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201 - the starter reads it
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
