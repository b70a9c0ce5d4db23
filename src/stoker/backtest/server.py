"""The file's own queries, asked over a stretch of time from a running Prometheus."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp

from stoker.backtest.metrics import Column, Metrics, Missing, Track
from stoker.backtest.reading import tracks_of
from stoker.backtest.triggers import RECORDED
from stoker.errors import InputError, MachineError
from stoker.scaling.settings import ControllerSettings
from stoker.scaling.spec import ScalingSpec, TriggerSpec

_MAX_POINTS = 11_000  # of one series in one answer; Prometheus refuses more
_TIMEOUT = aiohttp.ClientTimeout(total=120, connect=10)


def ask_server(
    url: str,
    spec: ScalingSpec,
    start: float,
    end: float,
    *,
    settings: ControllerSettings,
    missing: Missing = "empty",
    headers: Mapping[str, str] | None = None,
) -> Metrics:
    """The answers to all triggers of *spec* at every moment at which KEDA or the HPA would look.

    *headers* go with every request; what they say is in no error.

    Raises:
        InputError: a trigger has no query, or the server refuses one.
        MachineError: the server cannot be reached.
    """
    if not url.startswith(("http://", "https://")):
        raise InputError(f"`{url}` is not an address", hint="write http://HOST:PORT")
    step = step_of(spec.polling_interval, settings.sync_period)
    columns = asyncio.run(_columns(url.rstrip("/"), spec.triggers, start, end, step, headers or {}))
    return Metrics(columns, missing=missing)


def step_of(polling_interval: float, sync_period: float) -> float:
    """The widest grid that has every poll and every sync on it; 1 s if none is a whole second."""
    periods = [p for p in (polling_interval, sync_period) if p > 0]
    if not periods or not all(p == int(p) for p in periods):
        return 1.0
    return float(math.gcd(*(int(p) for p in periods)))


async def _columns(
    url: str,
    triggers: Sequence[TriggerSpec],
    start: float,
    end: float,
    step: float,
    headers: Mapping[str, str],
) -> list[Column]:
    found = []
    async with aiohttp.ClientSession(timeout=_TIMEOUT, headers=headers) as session:
        for trigger in triggers:
            if trigger.type not in RECORDED:
                continue
            query = trigger.metadata.get("query", "").strip()
            if not query:
                raise InputError(f"trigger {trigger.index} ({trigger.type}) has no query")
            tracks = await _tracks(session, url, query, start, end, step)
            name = f"s{trigger.index}-{trigger.type}"
            found.append(Column(name, tracks, url, step))
    return found


async def _tracks(
    session: aiohttp.ClientSession, url: str, query: str, start: float, end: float, step: float
) -> tuple[Track, ...]:
    """One query, in as many requests as the server's limit of points needs."""
    merged: dict[tuple[tuple[str, str], ...], tuple[list[float], list[float | None]]] = {}
    at = start
    while at <= end:
        until = min(end, at + (_MAX_POINTS - 1) * step)
        for track in tracks_of(await _answer(session, url, query, (at, until, step))):
            key = tuple(sorted(track.labels.items()))
            times, values = merged.setdefault(key, ([], []))
            times.extend(track.times)
            values.extend(track.values)
        at = until + step
    return tuple(Track(times, values, dict(key)) for key, (times, values) in merged.items())


async def _answer(
    session: aiohttp.ClientSession, url: str, query: str, grid: tuple[float, float, float]
) -> Any:
    start, end, step = grid
    form = {"query": query, "start": f"{start}", "end": f"{end}", "step": f"{step}"}
    try:
        async with session.post(f"{url}/api/v1/query_range", data=form) as response:
            try:
                answer = await response.json(content_type=None)
            except ValueError:
                raise InputError(
                    f"{url} answers {response.status} and no JSON",
                    hint="is this the address of a Prometheus?",
                ) from None
    except (aiohttp.ClientError, OSError) as error:
        cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
        reason = getattr(cause, "strerror", None) or str(error) or type(error).__name__
        raise MachineError(
            f"no answer from {url}: {reason}", hint="is a Prometheus running at this address?"
        ) from None
    if not isinstance(answer, dict) or answer.get("status") != "success":
        reason = answer.get("error", answer) if isinstance(answer, dict) else answer
        raise InputError(f"{url} refuses the query `{query}`: {reason}")
    return answer
