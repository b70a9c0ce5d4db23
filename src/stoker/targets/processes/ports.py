"""Which port a replica listens on."""

from __future__ import annotations

import socket

from stoker.errors import MachineError

# Below the ports that kernels give to outgoing connections (Linux 32768, macOS 49152): one of those
# could take a replica's port between the choice and the replica's bind.
FIRST_PORT = 20000
LAST_PORT = 29999


class PortPool:
    """Ports for the replicas of one node.

    Walks upwards from *start*, so that a port that was just given back is not the next one: stale
    connections to the old replica must not reach a new one.
    """

    def __init__(self, host: str, start: int = 0) -> None:
        self._host = host
        self._size = LAST_PORT - FIRST_PORT + 1
        self._next = start % self._size
        self._taken: set[int] = set()

    def take(self) -> int:
        """A port that no replica has and nobody listens on. Raises MachineError."""
        for _ in range(self._size):
            port = FIRST_PORT + self._next
            self._next = (self._next + 1) % self._size
            if port not in self._taken and self.is_free(port):
                self._taken.add(port)
                return port
        raise MachineError(
            f"no port between {FIRST_PORT} and {LAST_PORT} is free for a replica",
            hint="`ss -ltn` shows who listens",
        )

    def reserve(self, port: int) -> None:
        """Count *port* as taken: an adopted replica has it."""
        self._taken.add(port)

    def release(self, port: int) -> None:
        """Give *port* back."""
        self._taken.discard(port)

    def is_free(self, port: int) -> bool:
        """Whether nobody listens on *port*."""
        with socket.socket() as probe:
            # Servers set it too: connections of the last listener that linger do not count.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((self._host, port))
            except OSError:
                return False
        return True
