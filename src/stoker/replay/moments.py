"""When a live run looked and scraped, from what ``stoker up -o json`` printed.

A queue that comes and goes within seconds is seen or not seen: that depends on when a page is
scraped, between two looks. A cluster leaves it to chance, and so does a run on this machine. A
replay that is to be held against one live run has to take its moments.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from stoker.errors import InputError, Place

_POD_PARTS: Final = 2  # template hash and suffix, behind the Deployment's name


@dataclass(frozen=True, slots=True)
class Moments:
    """Of one run.

    ``start`` is the first look, in seconds since the Unix epoch; None: there was no run.
    ``scrapes`` has for each Deployment its pods in the order of their creation: when each page of a
    pod was scraped first, in seconds since its process began.
    """

    start: float | None
    scrapes: Mapping[str, tuple[tuple[float, ...], ...]] = field(default_factory=dict)

    def of(self, workload: str, pod: int) -> tuple[float, ...]:
        """First scrapes of the pages of the *pod*-th pod, empty where the run had none."""
        pods = self.scrapes.get(workload, ())
        return pods[pod] if pod < len(pods) else ()


NO_MOMENTS: Final = Moments(None)


def read_moments(path: Path) -> Moments:
    """Those of the run that printed *path*.

    Raises:
        InputError: it cannot be read, or is something else.
    """
    try:
        with path.open(encoding="utf-8") as file:
            return _moments(_records(file))
    except OSError as error:
        raise InputError(f"cannot read it: {error.strerror}", place=Place(str(path))) from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError(
            "this is not what `stoker up -o json` prints", place=Place(str(path))
        ) from None
    except InputError as error:
        raise InputError(error.message, place=Place(str(path)), hint=error.hint) from None


def _records(lines: Iterable[str]) -> Iterable[dict[str, Any]]:
    for line in lines:
        if line.endswith("\n"):  # half a line: the run was killed
            yield json.loads(line)


def _moments(records: Iterable[dict[str, Any]]) -> Moments:
    start: float | None = None
    began: dict[str, float] = {}  # by pod, in the order of creation
    targets: dict[str, list[float]] = {}
    for record in records:
        if record["type"] == "tick" and start is None:
            start = float(record["time"])
        elif record["type"] == "target":
            targets.setdefault(record["pod"], []).append(float(record["time"]))
        elif record.get("reason") == "Started" and record["about"]["kind"] == "Pod":
            began.setdefault(record["about"]["name"], float(record["first_seen"]))
    if start is None:
        raise InputError("nobody has looked in this run", hint="let `stoker up -o json` run longer")
    scrapes: dict[str, list[tuple[float, ...]]] = {}
    for pod, at in began.items():
        workload = pod.rsplit("-", _POD_PARTS)[0]
        firsts = tuple(max(first - at, 0.0) for first in targets.get(pod, ()))
        scrapes.setdefault(workload, []).append(firsts)
    return Moments(start, {name: tuple(pods) for name, pods in scrapes.items()})


def first_request(trace: Path) -> float | None:
    """When the first request of a trace came that ``--record`` wrote, in seconds since the epoch.

    None: it is another trace, or begins later than the recording.
    """
    try:
        with trace.open("rb") as file:
            record = json.loads(file.readline())
        return float(record["unix_time"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
