"""The control process's side: starts the gateway processes, tells them, and adds up what they say.

A process that dies is started again at once; its socket stays open here meanwhile, so that nobody
who connects is turned away. Processes of a control process that was killed are taken over.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from stoker.clock import steady, wall_time
from stoker.gateway import wire
from stoker.gateway.listen import open_sockets, open_unix_socket
from stoker.gateway.page import page
from stoker.gateway.policy import EndpointSpec, ModelSettings
from stoker.gateway.stats import Snapshot, past
from stoker.gateway.trace_file import TraceFile, salt_of
from stoker.gateway.wire import Message, WorkerConfig

_log = logging.getLogger(__name__)
_START_TIMEOUT = 20.0
_TAKE_OVER = 5.0  # seconds for processes of an earlier run to report
_DUMP_TIMEOUT = 1.0
_LAST_WORDS = 2.0
_QUICK = 1.0  # a process that lives shorter than this is started again with a pause


class Seat:
    """The place of one gateway process: its socket, and whoever sits on it now."""

    def __init__(self, number: int, listening: socket.socket | None) -> None:
        self.number = number
        self.listening = listening  # None: the process brought it from an earlier run
        self.pid: int | None = None
        self.child: subprocess.Popen[bytes] | None = None
        self.writer: asyncio.StreamWriter | None = None
        self.serving = asyncio.Event()
        self.gone = asyncio.Event()
        self.heard_out = asyncio.Event()  # nothing more comes on the line
        self.heard_out.set()
        self.seq = 0
        self.in_flight: dict[tuple[str, str], int] = {}
        self.held: dict[str, int] = {}
        self.incoming: dict[str, int] = {}
        self.latest: dict[str, Any] | None = None

    def send(self, line: bytes) -> None:
        """Tell the process, if there is one."""
        if self.writer is not None and not self.writer.is_closing():
            self.writer.write(line)


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
        self._seats: list[Seat] = []
        self._server: asyncio.AbstractServer | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._closed = False
        self._trace: TraceFile | None = None
        self._models: list[ModelSettings] = []
        self._endpoints: dict[str, list[EndpointSpec]] = {}
        self._leaving: dict[tuple[str, str], int] = {}  # replica -> the message that took it out
        self._seq = 0
        self._past: list[dict[str, Any]] = []
        self._dumps: dict[int, asyncio.Future[None]] = {}
        self._numbers = count(1)
        self._elsewhere: dict[int, list[list[Any]]] = {}
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
        missing = self._config.workers - len(self._seats)
        if missing > 0:
            for listening in self._open(missing):
                seat = Seat(len(self._seats), listening)
                self._seats.append(seat)
                self._keep(seat)
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
        self._tell(wire.models_line(self._models))

    def set_endpoints(self, model: str, endpoints: Iterable[EndpointSpec]) -> None:
        """The replicas of *model* that may get requests."""
        self._seq += 1
        known = {spec.name for spec in self._endpoints.get(model, ())}
        self._endpoints[model] = list(endpoints)
        staying = {spec.name for spec in self._endpoints[model]}
        for name in known - staying:
            self._leaving[model, name] = self._seq
        for name in staying:
            self._leaving.pop((model, name), None)
        self._tell(wire.endpoints_line(model, self._endpoints[model], self._seq))

    def set_health(self, model: str, name: str, *, healthy: bool) -> None:
        """What the health check says of a replica."""
        self._tell(wire.line("health", model=model, name=name, healthy=healthy))

    def remove_endpoint(self, model: str, name: str) -> None:
        """A replica is gone."""
        self._endpoints[model] = [e for e in self._endpoints.get(model, ()) if e.name != name]
        self._tell(wire.line("remove", model=model, name=name))

    def start_failed(self, model: str, why: str) -> None:
        """There will be no replica for those that wait."""
        self._tell(wire.line("failed", model=model, why=why))

    def _tell(self, line: bytes) -> None:
        for seat in self._seats:  # also to those that start: they know what was so at their hello
            seat.send(line)

    # -- what they say ---------------------------------------------------------------------------

    def in_flight(self, name: str) -> int:
        """Requests at a replica.

        At least 1 while a process has not confirmed that it sends the replica nothing new.
        """
        total = sum(
            requests
            for seat in self._seats
            for (_, pod), requests in seat.in_flight.items()
            if pod == name
        )
        left_at = max((seq for (_, pod), seq in self._leaving.items() if pod == name), default=0)
        unsure = any(s.writer is not None and s.seq < left_at for s in self._seats)
        return max(total, int(unsure))

    def held(self, model: str) -> int:
        """Requests that wait for a replica."""
        return sum(seat.held.get(model, 0) for seat in self._seats)

    def incoming(self, model: str) -> int:
        """Requests that came for *model*."""
        ended = (dumped["models"].get(model, {}) for dumped in self._past)
        before = sum(int(counters.get("incoming", 0)) for counters in ended)
        return before + sum(seat.incoming.get(model, 0) for seat in self._seats)

    def snapshot(self) -> Snapshot:
        """All counters, at most half a second old; those that wait as of now."""
        latest = [seat.latest for seat in self._seats if seat.latest is not None]
        total = Snapshot.of([*self._past, *latest])
        total.held = Counter({settings.name: self.held(settings.name) for settings in self._models})
        return total

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
        if self._closed or not fits or all(seat.listening for seat in self._seats if seat) is None:
            return None
        if any(seat.listening is not None for seat in self._seats):
            return None  # this run has opened its own sockets already
        self._port = port
        seat = Seat(len(self._seats), None)
        self._seats.append(seat)
        _log.debug("took over gateway process %d on %s:%d", hello["pid"], host, port)
        return seat

    def _hear(self, seat: Seat, message: Message) -> None:
        op = message["op"]
        if op == "depths":
            self._hear_depths(seat, message)
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

    def _hear_depths(self, seat: Seat, message: Message) -> None:
        seat.seq = message["seq"]
        seat.held = {model: held for model, (_, held) in message["models"].items()}
        seat.incoming = {model: incoming for model, (incoming, _) in message["models"].items()}
        seat.in_flight = {(model, name): n for model, name, n in message["replicas"]}
        if len(self._seats) > 1:
            self._tell_elsewhere()
        self.on_change()

    def _tell_elsewhere(self) -> None:
        """Tell each process what the others have at the replicas, if that has changed."""
        for seat in self._seats:
            others: Counter[tuple[str, str]] = Counter()
            for other in self._seats:
                if other is not seat:
                    others.update(other.in_flight)
            told = [[model, name, n] for (model, name), n in sorted(others.items())]
            if self._elsewhere.get(seat.number) != told:
                self._elsewhere[seat.number] = told
                seat.send(wire.line("elsewhere", replicas=told))

    async def _send_page(self, seat: Seat, number: int) -> None:
        await self.refresh()
        seat.send(wire.line("page", id=number, text=page(self.snapshot())))

    def _lost(self, seat: Seat, writer: asyncio.StreamWriter) -> None:
        """A process has closed its line: it has ended, or is about to."""
        if seat.writer is not writer:
            return
        if seat.latest is not None:
            for model, incoming in seat.incoming.items():  # told sooner than the other counts
                if model in seat.latest["models"]:
                    seat.latest["models"][model]["incoming"] = incoming
            self._past.append(past(seat.latest))
        seat.writer = None
        seat.heard_out.set()
        if self._trace is not None:
            self._trace.left(seat.number)
        seat.latest = None
        seat.serving.clear()
        seat.in_flight, seat.held, seat.incoming = {}, {}, {}
        if seat.child is None:  # it was taken over: its socket went with it
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
        try:
            record = json.loads(self._record.read_text(encoding="utf-8"))
            pids = [int(pid) for pid in record["pids"]]
        except (OSError, ValueError, KeyError, TypeError):
            return
        alive = [pid for pid in pids if _is_worker(pid)]
        loop = asyncio.get_running_loop()
        until = loop.time() + _TAKE_OVER
        while alive and loop.time() < until:
            if len([s for s in self._seats if s.serving.is_set()]) >= len(alive):
                return
            await asyncio.sleep(0.02)
            alive = [pid for pid in alive if _is_worker(pid)]

    async def _replace(self, seat: Seat) -> None:
        """Give a seat whose process brought its own socket one of ours."""
        seat.listening = self._open(1)[0]
        self._keep(seat)

    def _keep(self, seat: Seat) -> None:
        self._spawn(self._keep_running(seat))

    async def _keep_running(self, seat: Seat) -> None:
        loop = asyncio.get_running_loop()
        pause = 0.0
        while not self._closed and seat.listening is not None:
            started = loop.time()
            child = seat.child = _start(self._path, seat.number, seat.listening.fileno())
            seat.pid = child.pid
            seat.gone.clear()
            self._note()
            await _ended(child)
            seat.gone.set()
            quick = loop.time() - started < _QUICK
            pause = min(max(pause * 2, 0.1), 5.0) if quick else 0.0
            if not self._closed:
                _log.warning("gateway process %d ended; another starts", child.pid)
                await asyncio.sleep(pause)

    def _note(self) -> None:
        """Write down who serves, for a run that comes after this one is killed."""
        text = json.dumps({"port": self._port, "pids": list(self.pids)})
        temporary = self._record.with_suffix(".tmp")
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(self._record)

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _start(link: Path, number: int, fd: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "stoker.gateway.worker",
         f"--link={link}", f"--fd={fd}", f"--number={number}"],
        pass_fds=[fd],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip


async def _ended(child: subprocess.Popen[bytes]) -> None:
    """Wait for a child without a thread where the system can tell."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()
    try:
        fd = os.pidfd_open(child.pid)
    except (AttributeError, OSError):
        await asyncio.to_thread(child.wait)
        return

    def readable() -> None:
        loop.remove_reader(fd)
        if not done.done():
            done.set_result(None)

    loop.add_reader(fd, readable)
    try:
        await done
    finally:
        loop.remove_reader(fd)
        os.close(fd)
    child.wait()


def _is_worker(pid: int) -> bool:
    """Whether *pid* is a gateway process, as far as one can see."""
    try:
        return b"stoker.gateway.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
