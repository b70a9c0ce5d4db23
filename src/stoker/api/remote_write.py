"""``POST /api/v1/write``: an existing Prometheus or agent feeds the embedded storage."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web

from stoker.errors import InputError, MachineError
from stoker.metrics.remote_write import V2, write
from stoker.metrics.storage import Storage

MAX_REQUEST_BYTES: Final = 16 * 2**20  # compressed
_WRITTEN: Final = "X-Prometheus-Remote-Write-{}-Written"


def receive_into(
    storage: Storage, on_written: Callable[[frozenset[str]], None] = lambda _: None
) -> Callable[[web.Request], Awaitable[web.Response]]:
    """A handler that takes remote write 1.0 and 2.0; *on_written* gets the names of metrics."""

    async def receive(request: web.Request) -> web.Response:  # noqa: PLR0911 - many refusals
        version = _version(request)
        if version is None or request.headers.get("Content-Encoding", "snappy") != "snappy":
            return web.Response(
                status=415, text="remote write is application/x-protobuf, compressed with snappy\n"
            )
        body = bytearray()
        async for chunk in request.content.iter_chunked(65536):
            body += chunk
            if len(body) > MAX_REQUEST_BYTES:
                text = f"remote write of more than {MAX_REQUEST_BYTES} bytes\n"
                return web.Response(status=413, text=text)
        try:
            written = write(storage, bytes(body), version=version)
        except InputError as error:
            return web.Response(status=400, text=f"{error.message}\n")
        except MachineError as error:
            return web.Response(status=501, text=f"{error.message}: {error.hint}\n")
        if written.names:
            on_written(written.names)
        headers = {
            _WRITTEN.format("Samples"): str(written.samples),
            _WRITTEN.format("Histograms"): "0",
            _WRITTEN.format("Exemplars"): "0",
        }
        if written.histograms:
            text = "native histograms are not supported: they were left out\n"
            return web.Response(status=400, text=text, headers=headers)
        if written.refused:
            text = f"{written.refused} samples out of order, duplicate or of too many series\n"
            return web.Response(status=400, text=text, headers=headers)
        return web.Response(status=204, headers=headers)

    return receive


def _version(request: web.Request) -> int | None:
    """1 or 2, None for what is no remote write."""
    if request.content_type != "application/x-protobuf":
        return None
    proto = request.headers.get("Content-Type", "").partition("proto=")[2].strip(' "')
    return {"": 1, "prometheus.WriteRequest": 1, V2: 2}.get(proto)
