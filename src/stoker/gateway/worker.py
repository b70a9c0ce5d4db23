"""A gateway process: ``python -m stoker.gateway.worker``, started by `stoker.gateway.fleet`.

It serves what it was told last. When the control process is gone it looks for another one at the
same place, and ends when there was none for `orphan_timeout` seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
from pathlib import Path

import uvloop

from stoker.clock import steady, wall_time
from stoker.gateway.access_log import AccessLog
from stoker.gateway.inbound import Inbound
from stoker.gateway.keys import Keys
from stoker.gateway.link import Link
from stoker.gateway.listen import CertificateWatch, raise_file_limit, tls_context
from stoker.gateway.plane import Plane
from stoker.gateway.shared.neighbours import Neighbours
from stoker.gateway.shared.table import Row, Table
from stoker.gateway.sockets import Listener
from stoker.gateway.wire import WorkerConfig

_log = logging.getLogger(__name__)
_LOOK_EVERY = 1.0
_GC_THRESHOLD = 20_000  # objects; requests leave no cycles behind, or few
_CUT_OFF = 0.05  # seconds for what is being written when the grace is over


class Worker:
    """One process of the gateway.

    Args:
        link_path: Socket of the control process.
        listening: Where clients connect.
        table: What all processes have in hand.
        number: Of its row in the table.
    """

    def __init__(
        self, link_path: Path, listening: socket.socket, table: Table, number: int
    ) -> None:
        self._link_path = link_path
        self._row = Row(table, number, os.getpid())
        self._neighbours: Neighbours | None = None
        self._listening = listening
        self._plane: Plane | None = None
        self._stopped = asyncio.Event()
        self._grace = 0.0
        self._server: Listener | None = None
        self._watch: CertificateWatch | None = None
        self.link = Link(link_path, listening, self._row, self)

    async def run(self) -> None:
        """Serve until told to stop."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop, 0.0)
        linking = asyncio.create_task(self.link.run())
        linking.add_done_callback(lambda _: self._stopped.set())
        await self._stopped.wait()
        if self._plane is not None:
            await self._plane.stop(max(self._grace, _CUT_OFF))
            await self.link.last_words()
        if self._neighbours is not None:
            self._neighbours.close()
        if self._server is not None:
            self._server.close()
        self._listening.close()
        linking.cancel()
        await asyncio.wait({linking})

    async def configure(self, config: WorkerConfig) -> Plane:
        """Begin to serve, or go on."""
        if self._plane is not None:
            self._share(self._plane, config)
            return self._plane
        loop = asyncio.get_running_loop()
        offset = wall_time() - steady()
        plane = Plane(
            loop,
            config.limits,
            now=steady,
            created=config.created,
            keys=Keys(Path(config.keys)) if config.keys else None,
            access_log=AccessLog(Path(config.access_log), offset) if config.access_log else None,
        )
        plane.session_header = config.session_header.lower().encode()
        plane.prefix_affinity = config.prefix_affinity
        self._plane = plane
        self._share(plane, config)
        tls = None
        if config.certificate:
            key = Path(config.certificate_key) if config.certificate_key else None
            tls = tls_context(Path(config.certificate), key)
            self._watch = CertificateWatch(tls, Path(config.certificate), key)
            loop.call_later(_LOOK_EVERY, self._look_at_certificate)
        self._server = await plane.sockets.listen(lambda: Inbound(plane), self._listening, tls)
        # What is loaded now stays: a full collection over it would hold up every stream.
        gc.collect()
        gc.freeze()
        gc.set_threshold(_GC_THRESHOLD, 20, 100)
        return plane

    def stop(self, grace: float) -> None:
        """Refuse new requests, let the others finish for *grace* seconds, end."""
        self._grace = grace
        self._stopped.set()

    def _share(self, plane: Plane, config: WorkerConfig) -> None:
        """Count with the others; a process that is alone, and always was, is spared that."""
        if config.workers > 1 and self._neighbours is None:
            self._neighbours = Neighbours(plane, self._row, self._link_path)

    def _look_at_certificate(self) -> None:
        if self._watch is not None:
            self._watch.look(lambda why: _log.warning("the certificate stays as it was: %s", why))
        asyncio.get_running_loop().call_later(_LOOK_EVERY, self._look_at_certificate)


def main() -> None:
    """Run one process of the gateway."""
    parser = argparse.ArgumentParser(prog="stoker.gateway.worker")
    parser.add_argument("--link", required=True, help="socket of the control process")
    parser.add_argument("--fd", type=int, required=True, help="socket that listens")
    parser.add_argument("--table", type=int, required=True, help="memory of all processes")
    parser.add_argument("--number", type=int, default=0, help="row of that memory")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    raise_file_limit()
    listening = socket.socket(fileno=arguments.fd)
    table = Table(arguments.table)

    async def run() -> None:
        await Worker(Path(arguments.link), listening, table, arguments.number).run()

    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(run())


if __name__ == "__main__":
    main()
