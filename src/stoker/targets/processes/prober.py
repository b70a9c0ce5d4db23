"""Sends probes: httpGet, tcpSocket, exec, and tells failures in the kubelet's words."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
from typing import TYPE_CHECKING

from stoker.resources.workload import Probe
from stoker.targets.processes.probes import ProbeResult, ProbeTarget
from stoker.targets.processes.watchdog import kill_group

if TYPE_CHECKING:
    import aiohttp

_HEADERS = {"User-Agent": "kube-probe/1.36", "Accept": "*/*"}
_MAX_OUTPUT = 10 * 1024  # bytes of an exec probe's output that the kubelet keeps


class LocalProber:
    """Probes replicas on this machine, one connection a probe, as the kubelet does."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def probe(self, probe: Probe, target: ProbeTarget) -> ProbeResult:
        """Ask once."""
        if probe.command is not None:
            return await _exec(probe, probe.command, target)
        port = target.port if probe.port in (None, target.container_port) else probe.port
        if probe.tcp:
            return await _connect(target.host, port or target.port, probe.timeout)
        path = "/" + (probe.path or "").lstrip("/")
        return await self._get(
            f"{probe.scheme.lower()}://{target.host}:{port}{path}", probe.timeout
        )

    async def close(self) -> None:
        """Close the session."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _get(self, url: str, timeout: float) -> ProbeResult:  # noqa: ASYNC109 - the probe's
        import aiohttp  # noqa: PLC0415 - a replay has the probes and asks nobody

        if self._session is None:
            connector = aiohttp.TCPConnector(force_close=True, limit=0, ssl=False)
            self._session = aiohttp.ClientSession(connector=connector, headers=_HEADERS)
        try:
            async with asyncio.timeout(timeout), self._session.get(url) as response:
                status = response.status
        except TimeoutError:
            why = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
            return ProbeResult(success=False, message=f'Get "{url}": {why}')
        except aiohttp.ClientConnectorError as error:
            why = f"dial tcp {error.host}:{error.port}: connect: {_words(error.os_error)}"
            return ProbeResult(success=False, message=f'Get "{url}": {why}')
        except aiohttp.ServerDisconnectedError:
            return ProbeResult(success=False, message=f'Get "{url}": EOF')
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return ProbeResult(success=False, message=f'Get "{url}": {error}')
        if 200 <= status < 400:
            return ProbeResult(success=True)
        return ProbeResult(success=False, message=f"HTTP probe failed with statuscode: {status}")


async def _connect(host: str, port: int, timeout: float) -> ProbeResult:  # noqa: ASYNC109
    try:
        async with asyncio.timeout(timeout):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return ProbeResult(success=False, message=f"dial tcp {host}:{port}: i/o timeout")
    except OSError as error:
        why = f"dial tcp {host}:{port}: connect: {_words(error)}"
        return ProbeResult(success=False, message=why)
    writer.close()
    with contextlib.suppress(OSError):  # it answered; how it hangs up does not matter
        await writer.wait_closed()
    return ProbeResult(success=True)


async def _exec(probe: Probe, command: tuple[str, ...], target: ProbeTarget) -> ProbeResult:
    argv = [on_this_machine(argument, target) for argument in command]
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=dict(target.env),
            start_new_session=True,
        )
    except OSError as error:
        return ProbeResult(success=False, message=f"exec: {json.dumps(argv[0])}: {_words(error)}")
    try:
        async with asyncio.timeout(probe.timeout):
            output, _ = await process.communicate()
    except TimeoutError:
        why = f'command timed out: "{" ".join(argv)}" timed out after {probe.timeout:g}s'
        return ProbeResult(success=False, message=why)
    finally:
        if process.returncode is None:
            kill_group(process.pid)
            await process.wait()
    text = output[:_MAX_OUTPUT].decode(errors="replace").strip()
    return ProbeResult(success=process.returncode == 0, message=text)


def on_this_machine(argument: str, target: ProbeTarget) -> str:
    """*argument* with the container's own address replaced by the replica's.

    ``curl localhost:8000/health`` is right in a container; here each replica has another port.
    """
    own = rf"\b(?:localhost|127\.0\.0\.1|0\.0\.0\.0):{target.container_port}\b"
    return re.sub(own, f"{target.host}:{target.port}", argument)


def exit_words(code: int | None) -> str:
    """``exit code 137 (SIGKILL)``: a signal N as a shell and the kubelet count it, 128 + N."""
    if code is None:
        return "exit code unknown"
    if code >= 0:
        return f"exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"exit code {128 - code} ({name})"


def _words(error: OSError) -> str:
    return (os.strerror(error.errno) if error.errno else str(error)).lower()
