"""A server that writes what a test wants, byte for byte, on 127.0.0.1."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import pytest

Reply = Callable[[dict, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """An HTTP server of few words: `reply` gets the request's JSON and writes the answer itself."""

    def __init__(self) -> None:
        self.requests: list[dict] = []
        self.heads: list[str] = []
        self.connections = 0
        self.reply: Reply = self.stream
        self.models = b'{"data":[{"id":"m"}]}'
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                self.heads.append(head)
                if head.startswith("GET /v1/models "):
                    await self.whole(self.models, writer)
                    continue
                length = int(head.lower().split("content-length: ")[1].split("\r\n")[0])
                request = json.loads(await reader.readexactly(length))
                self.requests.append(request)
                await self.reply(request, writer)
                if writer.is_closing():
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    async def whole(
        self, body: bytes, writer: asyncio.StreamWriter, status: str = "200 OK"
    ) -> None:
        writer.write(b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n" % (status.encode(), len(body)))
        writer.write(body)
        await writer.drain()

    async def stream(self, request: dict, writer: asyncio.StreamWriter) -> None:
        """As many tokens as were asked for, streamed if that was asked for."""
        if not request["stream"]:
            answer = {"choices": [{"finish_reason": "length"}], "usage": self.usage(request)}
            await self.whole(json.dumps(answer).encode(), writer)
            return
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        for line in self.lines(request):
            event = b"data: %s\n\n" % line
            writer.write(b"%x\r\n%s\r\n" % (len(event), event))
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    def lines(self, request: dict) -> list[bytes]:
        """The events of a stream, in the shape of vLLM's."""
        count = request["max_tokens"]

        def chunk(delta: str, finish: str = "null") -> bytes:
            return b'{"choices":[{"delta":%s,"finish_reason":%s}]}' % (
                delta.encode(),
                finish.encode(),
            )

        return [
            chunk('{"role":"assistant","content":""}'),
            *[chunk('{"content":"Hi"}')] * (count - 1),
            chunk('{"content":"."}', '"length"'),
            json.dumps({"choices": [], "usage": self.usage(request)}).encode(),
            b"[DONE]",
        ]

    def usage(self, request: dict) -> dict[str, int]:
        return {"prompt_tokens": 5, "completion_tokens": request["max_tokens"]}


@pytest.fixture
async def server():
    async with AsyncExitStack() as stack:
        made = Server()
        listening = await asyncio.start_server(made.serve, "127.0.0.1", 0)
        stack.push_async_callback(listening.wait_closed)
        stack.callback(listening.close)
        made.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        yield made
