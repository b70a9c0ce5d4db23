"""The control process's side: starts the gateway processes, tells them, and adds up what they say.

A process that dies is started again at once; its socket stays open here meanwhile, so that nobody
who connects is turned away. Processes of a control process that was killed are taken over.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from stoker.clock import steady, wall_time
from stoker.gateway import processes, wire
from stoker.gateway.listen import open_sockets, open_unix_socket
from stoker.gateway.page import page
from stoker.gateway.policy import EndpointSpec, ModelSettings
from stoker.gateway.seats import Seat, Seats
from stoker.gateway.shared.neighbours import remove_pipes, wake_all
from stoker.gateway.shared.table import Table
from stoker.gateway.stats import Snapshot
from stoker.gateway.trace_file import TraceFile, salt_of
from stoker.gateway.wire import Message, WorkerConfig

_log = logging.getLogger(__name__)
_START_TIMEOUT = 20.0
_TAKE_OVER = 5.0  # seconds for processes of an earlier run to report
_DUMP_TIMEOUT = 1.0
_LAST_WORDS = 2.0
_QUICK = 1.0  # a process that lives shorter than this is started again with a pause


class Fleet:
    """All gateway processes of one run.

    Attributes:
        on_held: Called with the model when a request begins to wait and there is no replica.
        on_change: Called when depths have changed.
    """

    def __init__(self, state_dir: Path, config: WorkerConfig, *, host: str, port: int) -> None:
        self._state_dir = state_dir
        self._config = config
        self._host = host
        self._port = port
        self._path = wire.socket_path(state_dir)
        self._record = state_dir / "gateway.json"
        self._seats = Seats()
        self._table: Table | None = None  # of the processes that were taken over, or a new one
        self._server: asyncio.AbstractServer | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._closed = False
        self._trace: TraceFile | None = None
        self._models: list[ModelSettings] = []
        self._endpoints: dict[str, list[EndpointSpec]] = {}
        self._seq = 0
        self._dumps: dict[int, asyncio.Future[None]] = {}
        self._numbers = count(1)
        self.on_held: Callable[[str], None] = lambda _model: None
        self.on_change: Callable[[], None] = lambda: None

    # -- start and stop --------------------------------------------------------------------------

    async def start(self) -> None:
        """Take over what is there, start what is missing, and wait until all serve.

        Raises:
            ConflictError: the port is taken.
            InputError: the trace cannot be recorded.
            MachineError: the processes do not start.
        """
        if record := self._config.record:
            self._config = replace(self._config, record_salt=salt_of(self._state_dir).hex())
            self._trace = TraceFile(Path(record), wall_time() - steady())
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(
            self._connected, self._path, limit=wire.stream_limit()
        )
        self._path.chmod(0o600)
        await self._take_over()
        self._table = self._table or Table.create()
        missing = self._config.workers - len(self._seats)
        if missing > 0:
            rows = self._table.free_rows()
            for listening in self._open(missing):
                self._keep(self._seats.add(Seat(next(rows), listening)))
        async with asyncio.timeout(_START_TIMEOUT):
            for seat in self._seats:
                await seat.serving.wait()
        self._note()

    async def stop(self, grace: float) -> None:
        """Let requests finish for *grace* seconds, and end all processes."""
        self._closed = True
        for seat in self._seats:
            seat.send(wire.line("stop", grace=grace))
        waiting = [asyncio.create_task(seat.gone.wait()) for seat in self._seats if seat.pid]
        if waiting:
            await asyncio.wait(waiting, timeout=grace + 2.0)
        for task in waiting:
            task.cancel()
        if self._trace is not None:  # their last requests are still on the line
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LAST_WORDS):
                    for seat in self._seats:
                        await seat.heard_out.wait()
        await self.abandon(kill=True)
        self._record.unlink(missing_ok=True)
        self._path.unlink(missing_ok=True)
        remove_pipes(self._path)

    async def abandon(self, *, kill: bool = False) -> None:
        """Close everything of this process; the gateway processes go on unless *kill*."""
        self._closed = True
        # First of all: processes that lose their line come again at once, and a connection that
        # asyncio accepts while it closes the server is closed by nobody.
        if self._server is not None:
            self._server.close()
        for seat in self._seats:
            if kill and seat.pid is not None and not seat.gone.is_set():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(seat.pid, signal.SIGKILL)
                if seat.child is not None:
                    seat.child.wait()
            if seat.listening is not None:
                seat.listening.close()
        for writer in tuple(self._writers):
            writer.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._trace is not None:
            self._trace.close()
        if self._table is not None:
            self._table.close()

    @property
    def port(self) -> int:
        """The port that clients connect to."""
        return self._port

    @property
    def pids(self) -> tuple[int, ...]:
        """The gateway processes."""
        return tuple(seat.pid for seat in self._seats if seat.pid is not None)

    # -- what the gateway processes are told -----------------------------------------------------

    def set_models(self, models: Iterable[ModelSettings]) -> None:
        """The models that exist."""
        self._models = list(models)
        self._seats.tell(wire.models_line(self._models))

    def set_endpoints(self, model: str, endpoints: Iterable[EndpointSpec]) -> None:
        """The replicas of *model* that may get requests."""
        self._seq += 1
        known = [spec.name for spec in self._endpoints.get(model, ())]
        specs = self._endpoints[model] = list(endpoints)
        self._seats.leaving(model, known, {spec.name for spec in specs}, self._seq)
        self._seats.tell(wire.endpoints_line(model, specs, self._seq))

    def set_health(self, model: str, name: str, *, healthy: bool) -> None:
        """What the health check says of a replica."""
        self._seats.tell(wire.line("health", model=model, name=name, healthy=healthy))

    def remove_endpoint(self, model: str, name: str) -> None:
        """A replica is gone."""
        self._endpoints[model] = [e for e in self._endpoints.get(model, ()) if e.name != name]
        self._seats.tell(wire.line("remove", model=model, name=name))

    def start_failed(self, model: str, why: str) -> None:
        """There will be no replica for those that wait."""
        self._seats.tell(wire.line("failed", model=model, why=why))

    # -- what they say ---------------------------------------------------------------------------

    def in_flight(self, name: str) -> int:
        """Requests at a replica.

        At least 1 while a process has not confirmed that it sends the replica nothing new.
        """
        return self._seats.in_flight(name)

    def held(self, model: str) -> int:
        """Requests that wait for a replica."""
        return self._seats.held(model)

    def incoming(self, model: str) -> int:
        """Requests that came for *model*."""
        return self._seats.incoming(model)

    def snapshot(self) -> Snapshot:
        """All counters, at most half a second old; those that wait as of now."""
        return self._seats.snapshot(settings.name for settings in self._models)

    async def refresh(self) -> None:
        """Ask all processes for their counters."""
        waiting = []
        for seat in self._seats:
            if seat.serving.is_set():
                number = next(self._numbers)
                future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                self._dumps[number] = future
                waiting.append(future)
                seat.send(wire.line("dump", id=number))
        if waiting:
            await asyncio.wait(waiting, timeout=_DUMP_TIMEOUT)
        self._dumps = {n: future for n, future in self._dumps.items() if future not in waiting}

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            await self._converse(reader, writer)
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hello = None if self._closed else await wire.read_message(reader)
        if hello is None:
            return
        seat = self._seat_of(hello)
        writer.write(self._hello())
        if seat is None:
            writer.write(wire.line("stop", grace=self._config.orphan_timeout))
            return
        seat.pid, seat.writer, seat.seq = hello["pid"], writer, 0
        seat.gone.clear()
        seat.heard_out.clear()
        writer.write(wire.models_line(self._models))
        for model, endpoints in self._endpoints.items():
            writer.write(wire.endpoints_line(model, endpoints, self._seq))
        while (message := await wire.read_message(reader)) is not None:
            self._hear(seat, message)
        self._lost(seat, writer)

    def _hello(self) -> bytes:
        return wire.line("hello", version=wire.VERSION, config=wire.config_fields(self._config))

    def _seat_of(self, hello: Message) -> Seat | None:
        """Whose process this is; None: it is not wanted."""
        if hello["version"] != wire.VERSION:
            return None
        for seat in self._seats:
            if seat.pid == hello["pid"]:
                return seat
        host, port = hello["address"]
        fits = port and self._port in {0, port} and len(self._seats) < self._config.workers
        if self._closed or not fits or any(seat.listening is not None for seat in self._seats):
            return None  # this run has opened its own sockets already, or wants no more
        if not self._has_our_table(hello):
            return None
        self._port = port
        _log.debug("took over gateway process %d on %s:%d", hello["pid"], host, port)
        return self._seats.add(Seat(hello["number"], None))

    def _has_our_table(self, hello: Message) -> bool:
        """Whether a process of an earlier run counts with the others; the first brings the table.

        If it cannot be opened limits would hold for each run alone: the process has to go.
        """
        found = Table.of_process(hello["pid"], hello["table"])
        if found is None:
            return False
        if self._table is None:
            self._table = found
            return True
        same = self._table.is_same(found)
        found.close()
        return same

    def _hear(self, seat: Seat, message: Message) -> None:
        op = message["op"]
        if op == "depths":
            seat.hear_depths(message)
            self.on_change()
        elif op == "held":
            self.on_held(message["model"])
        elif op == "dump":
            seat.latest = message["snapshot"]
            waiting = self._dumps.pop(message["id"], None) if message["id"] else None
            if waiting is not None and not waiting.done():
                waiting.set_result(None)
        elif op == "page":
            self._spawn(self._send_page(seat, message["id"]))
        elif op == "records" and self._trace is not None:
            self._trace.add(seat.number, message["rows"], message["until"])
        elif op == "serving":
            seat.serving.set()

    async def _send_page(self, seat: Seat, number: int) -> None:
        await self.refresh()
        seat.send(wire.line("page", id=number, text=page(self.snapshot())))

    def _lost(self, seat: Seat, writer: asyncio.StreamWriter) -> None:
        """A process has closed its line: it has ended, or is about to."""
        if seat.writer is not writer:
            return
        self._seats.left(seat)
        if self._trace is not None:
            self._trace.left(seat.number)
        if seat.child is None:  # it was taken over: its socket went with it
            self._free(seat)
            seat.pid = None
            seat.gone.set()
            if not self._closed:
                self._spawn(self._replace(seat))
        self.on_change()

    # -- processes -------------------------------------------------------------------------------

    def _open(self, number: int) -> list[socket.socket]:
        if self._host.startswith("unix:"):
            listening = open_unix_socket(Path(self._host.removeprefix("unix:")))
            return [listening] + [listening.dup() for _ in range(number - 1)]
        shared = bool(self._seats)  # with processes that were taken over
        sockets = open_sockets(self._host, self._port, number, shared=shared)
        self._port = int(sockets[0].getsockname()[1])
        return sockets

    async def _take_over(self) -> None:
        """Wait for the processes of an earlier run that still serve."""
        loop = asyncio.get_running_loop()
        until = loop.time() + _TAKE_OVER
        while (alive := processes.noted(self._record)) and loop.time() < until:
            if len([s for s in self._seats if s.serving.is_set()]) >= len(alive):
                return
            await asyncio.sleep(0.02)

    async def _replace(self, seat: Seat) -> None:
        """Give a seat whose process brought its own socket one of ours."""
        seat.listening = self._open(1)[0]
        self._keep(seat)

    def _keep(self, seat: Seat) -> None:
        self._spawn(self._keep_running(seat))

    async def _keep_running(self, seat: Seat) -> None:
        loop = asyncio.get_running_loop()
        pause = 0.0
        while not self._closed and seat.listening is not None and self._table is not None:
            started = loop.time()
            listening = seat.listening.fileno()
            child = processes.start(self._path, seat.number, listening, self._table.fd)
            seat.child, seat.pid = child, child.pid
            seat.gone.clear()
            self._note()
            await processes.ended(child)
            self._free(seat)
            seat.gone.set()
            quick = loop.time() - started < _QUICK
            pause = min(max(pause * 2, 0.1), 5.0) if quick else 0.0
            if not self._closed:
                _log.warning("gateway process %d ended; another starts", child.pid)
                await asyncio.sleep(pause)

    def _free(self, seat: Seat) -> None:
        """What a process had in hand is lost with it: others may have its places."""
        if self._table is None or self._closed or seat.pid is None:
            return
        if processes.is_worker(seat.pid):
            return  # it only closed its line; the row goes with the process
        if self._table.clear(seat.number, seat.pid):
            wake_all(self._path, [other.number for other in self._seats if other is not seat])

    def _note(self) -> None:
        """Write down who serves, for a run that comes after this one is killed."""
        processes.note(self._record, self._port, self.pids)

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
