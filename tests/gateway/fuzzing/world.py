"""A data plane between clients and replicas that are lists of bytes, in virtual time.

The gateway's side is the real one: `Plane`, `Inbound`, `Outbound`. The seam is asyncio's own: a
`Wire` is the transport that a protocol is given, and the loop's `create_connection` makes one.
Wires are as uvloop's: nothing is read while reading is paused, nothing is sent after `close`, and
who touches one that is lost is told so.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from stoker.clock import steady
from stoker.gateway.access_log import AccessLog
from stoker.gateway.inbound import Inbound
from stoker.gateway.plane import Plane
from stoker.gateway.policy import EndpointSpec, ModelSettings
from stoker.gateway.recorder import Recorder
from stoker.gateway.settings import Limits
from stoker.gateway.sockets import Sockets

_HIGH_WATER = 300
#: Small, so that inputs of some hundred bytes reach them.
LIMITS = Limits(
    max_body=3000, max_head=1000, head_timeout=2.0, body_timeout=2.0, body_total=4.0,
    keep_alive=3.0, connect_timeout=1.0, idle_timeout=4.0, heartbeat=1.0, spool=300,
)  # fmt: skip
HOLD = 3.0
#: After so long without a word from anybody every request is over.
HORIZON = 40.0


class Loop(asyncio.BaseEventLoop):
    """An event loop without sockets: when nothing is to be done, time jumps to the next timer."""

    def __init__(self) -> None:
        super().__init__()
        self._selector = self
        self._now = steady()
        self.faults: list[dict[str, Any]] = []
        self.at_end: list[Callable[[], None]] = []
        self.dial: Callable[[asyncio.Protocol, int], Wire | None] = lambda _protocol, _port: None
        self.set_exception_handler(lambda _loop, context: self.faults.append(context))

    def time(self) -> float:
        return self._now

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise AssertionError("nothing will ever happen again")
        self._now += max(timeout, 0.0)
        return []

    def _process_events(self, events: list[Any]) -> None:
        pass

    def _write_to_self(self) -> None:
        pass

    def run_in_executor(self, _executor: Any, function: Any, *args: Any) -> asyncio.Future[Any]:
        """In a turn of its own, so that all else can happen before it, or between two."""
        done = self.create_future()

        def run() -> None:
            try:
                result = function(*args)
            except Exception as error:  # noqa: BLE001 - as an executor
                if not done.cancelled():
                    done.set_exception(error)
            else:
                if not done.cancelled():
                    done.set_result(result)

        self.call_soon(run)
        return done

    async def create_connection(
        self, factory: Callable[[], asyncio.Protocol], _host: str, port: int, **_options: Any
    ) -> tuple[Wire, asyncio.Protocol]:
        """Raises OSError when the replica does not take it."""
        protocol = factory()
        wire = self.dial(protocol, port)
        if wire is None:
            raise ConnectionRefusedError
        if wire.late:
            await wire.come_late(protocol)
        protocol.connection_made(wire)
        try:
            await asyncio.sleep(wire.delay)  # others have a turn before whoever dialled knows of it
        except asyncio.CancelledError:
            wire.close()  # as asyncio does
            raise
        return wire, protocol


class Wire(asyncio.Transport):
    """The gateway's end of a connection, and the far end's handle on it.

    Attributes:
        sent: What the far end has received.
        slow: The far end does not read.
        late: Seconds before it is there.
        delay: Seconds from then on before the one who dialled hears of it.
    """

    def __init__(self, loop: Loop, on_sent: Callable[[bytes], None] | None = None) -> None:
        super().__init__()
        self.loop = loop
        self.protocol: asyncio.Protocol | None = None
        self.sent = bytearray()
        self.slow = False
        self.late = self.delay = 0.0
        self.lost = False
        self._on_sent = on_sent
        self._unsent = bytearray()
        self._inbox: deque[bytes | None] = deque()
        self._reading = True
        self._closing = False
        self._paused = False

    # -- what a protocol calls -------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        if self._closing or self.lost or not data:
            return
        if not self.slow:
            self._send(bytes(data))
            return
        self._unsent += data
        if len(self._unsent) > _HIGH_WATER and not self._paused:
            self._paused = True
            self.protocol.pause_writing()

    def writelines(self, pieces: Any) -> None:
        self.write(b"".join(pieces))

    def close(self) -> None:
        self._reading = False
        if not self._closing:
            self._closing = True
            if not self._unsent:
                self.loop.call_soon(self._lose, None)

    def abort(self) -> None:
        self._closing, self._reading = True, False
        self._unsent.clear()
        self.loop.call_soon(self._lose, None)

    def is_closing(self) -> bool:
        return self._closing

    def pause_reading(self) -> None:
        self._must_be_alive()
        self._reading = False

    def resume_reading(self) -> None:
        self._must_be_alive()
        if not self._closing:
            self._reading = True
            self.loop.call_soon(self._deliver)

    def get_write_buffer_size(self) -> int:
        return len(self._unsent)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("192.0.2.1", 5) if name == "peername" else default

    # -- what the far end does -------------------------------------------------------------------

    async def come_late(self, protocol: asyncio.Protocol) -> None:
        """Nobody is told anything before the connection is there."""
        self.protocol, self._reading = None, False
        await asyncio.sleep(self.late)
        if self.lost or self._closing:
            raise ConnectionResetError
        self.protocol, self._reading = protocol, True
        self.loop.call_soon(self._deliver)

    def feed(self, data: bytes | None) -> None:
        """Send *data*; None: nothing more will come."""
        self._inbox.append(data)
        self._deliver()

    def reset(self) -> None:
        """Close it without order."""
        self._closing, self._reading = True, False
        self._unsent.clear()
        self.loop.call_soon(self._lose, ConnectionResetError())

    def read(self) -> None:
        """Read again, all that waits and all that comes."""
        self.slow = False
        waiting, self._unsent = bytes(self._unsent), bytearray()
        if waiting:
            self._send(waiting)
        if self._paused:
            self._paused = False
            self.protocol.resume_writing()
        if self._closing:
            self.loop.call_soon(self._lose, None)

    def _send(self, data: bytes) -> None:
        self.sent += data
        if self._on_sent is not None:
            self._on_sent(data)

    def _deliver(self) -> None:
        while self._inbox and self._reading and not self._closing:
            data = self._inbox.popleft()
            if data is not None:
                self.protocol.data_received(data)
            elif not self.protocol.eof_received():
                self.close()

    def _lose(self, error: Exception | None) -> None:
        if not self.lost:
            self.lost = True
            if self.protocol is not None:
                self.protocol.connection_lost(error)

    def _must_be_alive(self) -> None:
        if self.lost:
            raise RuntimeError("unable to perform operation on a closed transport")


class World:
    """A plane with models `m` (alias `alias`) and `n`, its clients' wires and its replicas'."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.plane = Plane(
            loop, LIMITS, now=loop.time, created=0.0,
            access_log=AccessLog(Path("/dev/null"), 0.0),
            sockets=Sockets(loop, own=False),
        )  # fmt: skip
        self.plane.recorder = Recorder(b"salt")
        self.plane.set_models(
            [
                ModelSettings("m", ("alias",), hold=HOLD, limit=3, queue_requests=4, slow_start=0),
                ModelSettings("n", hold=HOLD, slow_start=0.5, burst=1),
            ]
        )
        self.clients: list[Wire] = []
        loop.at_end.append(self.plane.close)

    def connect(self) -> Wire:
        """A new client."""
        wire = Wire(self.loop)
        wire.protocol = Inbound(self.plane)
        wire.protocol.connection_made(wire)
        self.clients.append(wire)
        return wire

    def ready(self, model: str, *numbers: int) -> None:
        """Replicas of *model*; their number is their port."""
        self.plane.set_endpoints(
            model, [EndpointSpec(f"{model}-{n}", f"http://10.0.0.1:{n}") for n in numbers]
        )

    async def settle(self) -> None:
        """All read what they are sent, and nobody says any more, until nothing can happen."""
        for wire in self.clients:
            wire.read()
        await asyncio.sleep(HORIZON)

    async def end(self) -> None:
        """Stop the plane."""
        self.plane.recorder.take(self.loop.time(), everything=True)
        self.plane.close()
        await asyncio.sleep(0.01)


async def turns(number: int) -> None:
    """Let everybody go on for a few turns, without time going on."""
    for _ in range(number):
        await asyncio.sleep(0)


def run(scene: Callable[[Loop], Any]) -> Any:
    """Play *scene* from its beginning to its end; raises whatever went wrong on the way."""
    loop = Loop()
    with _clock_of(loop):
        asyncio.set_event_loop(loop)
        try:
            result = loop.run_until_complete(scene(loop))
            left = [task for task in asyncio.all_tasks(loop) if not task.done()]
            assert not left, f"tasks are left: {left}"
        finally:
            for close in loop.at_end:
                close()
            loop.run_until_complete(asyncio.sleep(0.01))
            asyncio.set_event_loop(None)
            loop.close()
    for context in loop.faults:
        raise AssertionError(context["message"]) from context.get("exception")
    return result


@contextlib.contextmanager
def _clock_of(loop: Loop) -> Iterator[None]:
    """Whoever in the gateway reads the machine's clock reads the loop's.

    All but `stoker.clock` get the time as an argument, or they import `steady`.
    """
    places = [
        (module, name)
        for found, module in tuple(sys.modules.items())
        if found.startswith("stoker.gateway")
        for name in [name for name, value in vars(module).items() if value is steady]
    ]
    for module, name in places:
        setattr(module, name, loop.time)
    try:
        yield
    finally:
        for module, name in places:
            setattr(module, name, steady)
