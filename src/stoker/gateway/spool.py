"""Bodies of requests that wait on disk instead of in memory."""

from __future__ import annotations

import os
import tempfile
from typing import IO

PIECE = 1 << 18


class Spooled:
    """A body in a file without a name: it is gone with the process, whatever happens."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file = file
        self.size = size

    @classmethod
    def write(cls, body: bytes) -> Spooled:
        """Write *body*; blocks, so call it in a thread. Raises OSError."""
        file = tempfile.TemporaryFile(prefix="stoker-body-")  # noqa: SIM115 - `close` closes it
        try:
            file.write(body)
            file.flush()
        except OSError:
            file.close()
            raise
        return cls(file, len(body))

    def read(self, offset: int) -> bytes:
        """The piece at *offset*, nothing once it is closed; blocks, so call it in a thread.

        A request that is sent again may be read by two threads for a moment, so there is no common
        place in the file.
        """
        try:
            return os.pread(self._file.fileno(), PIECE, offset)
        except (OSError, ValueError):  # its request is over
            return b""

    def close(self) -> None:
        """Give the disk back."""
        self._file.close()
