"""A gateway process's side of the line to the control process (see `stoker.gateway.wire`)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stoker.gateway import wire
from stoker.gateway.page import page
from stoker.gateway.plane import Plane
from stoker.gateway.recorder import BATCH, Recorder
from stoker.gateway.report import depths, dump
from stoker.gateway.shared.table import Row
from stoker.gateway.stats import Snapshot
from stoker.gateway.wire import Message, WorkerConfig

if TYPE_CHECKING:
    from stoker.gateway.worker import Worker

_log = logging.getLogger(__name__)
_PUSH_AFTER = 0.008  # seconds in which changes gather; they are known after 10 ms at the latest
_DUMP_EVERY = 0.5
_RECORD_EVERY = 0.5
_RETRY = 0.2
_LAST_WORDS = 2.0  # seconds for the control process to take them
_PAGE_TIMEOUT = 2.0


class Link:
    """Listens to the control process and tells it what happens."""

    def __init__(self, path: Path, listening: socket.socket, row: Row, worker: Worker) -> None:
        self._path = path
        self._listening = listening
        self._row = row
        self._worker = worker
        self._plane: Plane | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._seq = 0  # the last `endpoints` that was followed
        self._dump_due = False
        self._pages: dict[int, asyncio.Future[str]] = {}
        self._page_numbers = count(1)

    async def run(self) -> None:
        """Stay in touch; returns when there was no control process for too long."""
        loop = asyncio.get_running_loop()
        alone_since: float | None = None
        patience = 10.0
        while alone_since is None or loop.time() < alone_since + patience:
            try:
                reader, writer = await asyncio.open_unix_connection(
                    self._path, limit=wire.stream_limit()
                )
            except OSError:
                alone_since = loop.time() if alone_since is None else alone_since
                await asyncio.sleep(_RETRY)
                continue
            self._writer = writer
            try:
                self._hello()
                while (message := await wire.read_message(reader)) is not None:
                    alone_since = None
                    if message["op"] == "hello":
                        patience = message["config"]["orphan_timeout"]
                    await self._follow(message)
            finally:
                self._writer = None
                writer.close()
            alone_since = loop.time()

    async def last_words(self) -> None:
        """The final counts."""
        plane, writer = self._plane, self._writer
        if plane is None or writer is None or writer.is_closing():
            return
        self._send(wire.line("dump", snapshot=dump(plane), id=None))
        if plane.recorder is not None:
            while self._send_records(plane, plane.recorder, everything=True) == BATCH:
                pass
        writer.transport.set_write_buffer_limits(0)
        with contextlib.suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(_LAST_WORDS):
                await writer.drain()

    # -- what is heard ---------------------------------------------------------------------------

    async def _follow(self, message: Message) -> None:
        op = message["op"]
        if op == "hello":
            await self._begin(message)
            return
        plane = self._plane
        if plane is None:
            return
        if op == "models":
            plane.set_models(wire.read_models(message))
            self._send(wire.line("dump", snapshot=dump(plane), id=None))
        elif op == "endpoints":
            plane.set_endpoints(message["model"], wire.read_endpoints(message))
            self._seq = message["seq"]
            self._tell_depths()
        else:
            self._follow_other(plane, op, message)

    def _follow_other(self, plane: Plane, op: str, message: Message) -> None:
        if op == "remove":
            plane.remove_endpoint(message["model"], message["name"])
        elif op == "health":
            plane.set_health(message["model"], message["name"], healthy=message["healthy"])
        elif op == "failed":
            plane.start_failed(message["model"], message["why"])
        elif op == "dump":
            self._send(wire.line("dump", snapshot=dump(plane), id=message["id"]))
        elif op == "page":
            waiting = self._pages.pop(message["id"], None)
            if waiting is not None and not waiting.done():
                waiting.set_result(message["text"])
        elif op == "stop":
            self._worker.stop(message["grace"])

    async def _begin(self, message: Message) -> None:
        if message["version"] != wire.VERSION:
            self._worker.stop(message["config"]["orphan_timeout"])
            return
        config = WorkerConfig.read(message["config"])
        first = self._plane is None
        plane = self._plane = await self._worker.configure(config)
        plane.on_change = self._changed
        plane.on_held = self._held
        plane.page = self._page if config.workers > 1 else None
        self._set_recorder(plane, config)
        self._send(wire.line("dump", snapshot=dump(plane), id=None))
        self._send(wire.line("serving"))
        self._tell_depths()
        if first:
            loop = asyncio.get_running_loop()
            loop.call_later(_DUMP_EVERY, self._dump_by_and_by)
            loop.call_later(_RECORD_EVERY, self._record_by_and_by)

    @staticmethod
    def _set_recorder(plane: Plane, config: WorkerConfig) -> None:
        """Another control process may want a record where the one before did not."""
        salt = bytes.fromhex(config.record_salt)
        if config.record is None:
            plane.recorder = None
        elif plane.recorder is None or plane.recorder.salt != salt:
            plane.recorder = Recorder(salt)

    # -- what is told ----------------------------------------------------------------------------

    def _send(self, line: bytes) -> None:
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(line)

    def _hello(self) -> None:
        name = self._listening.getsockname()
        self._send(
            wire.line(
                "hello",
                version=wire.VERSION,
                pid=os.getpid(),
                number=self._row.number,
                table=self._row.table.fd,
                address=list(name[:2]) if isinstance(name, tuple) else [name, 0],
            )
        )

    def _held(self, model: str) -> None:
        self._send(wire.line("held", model=model))

    def _changed(self) -> None:
        asyncio.get_running_loop().call_later(_PUSH_AFTER, self._tell_depths)

    def _tell_depths(self) -> None:
        self._dump_due = True
        if self._plane is not None:
            self._plane.changed = False
            self._send(wire.line("depths", seq=self._seq, **depths(self._plane)))

    def _dump_by_and_by(self) -> None:
        if self._plane is not None and self._dump_due:
            self._dump_due = False
            self._send(wire.line("dump", snapshot=dump(self._plane), id=None))
        asyncio.get_running_loop().call_later(_DUMP_EVERY, self._dump_by_and_by)

    def _record_by_and_by(self) -> None:
        plane = self._plane
        if plane is not None and plane.recorder is not None and self._writer is not None:
            self._send_records(plane, plane.recorder)
        asyncio.get_running_loop().call_later(_RECORD_EVERY, self._record_by_and_by)

    def _send_records(self, plane: Plane, recorder: Recorder, *, everything: bool = False) -> int:
        if recorder.lost:
            _log.warning("%d requests are not in the recorded trace", recorder.lost)
            recorder.lost = 0
        rows, until = recorder.take(plane.now(), everything=everything)
        self._send(wire.line("records", rows=rows, until=until))
        return len(rows)

    async def _page(self) -> str:
        """The metrics page of all processes, as the control process knows them."""
        if self._writer is not None:
            number = next(self._page_numbers)
            waiting: asyncio.Future[str] = asyncio.get_running_loop().create_future()
            self._pages[number] = waiting
            self._send(wire.line("page", id=number))
            try:
                async with asyncio.timeout(_PAGE_TIMEOUT):
                    return await waiting
            except TimeoutError:
                self._pages.pop(number, None)
        alone: list[dict[str, Any]] = [] if self._plane is None else [dump(self._plane)]
        return page(Snapshot.of(alone))
