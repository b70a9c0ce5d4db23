"""The seam of step 3: a trigger reads its source and never raises.

Also what all triggers share: how KEDA reads their ``metadata``.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from stoker.errors import InputError
from stoker.scaling.numbers import json_number
from stoker.scaling.observation import ResourceUsage, TriggerReading


class Trigger(Protocol):
    """One item of ``triggers``, ready to be read."""

    @property
    def metric_name(self) -> str:
        """Of the HPA's External metric: ``s0-prometheus``."""
        ...

    @property
    def target(self) -> float:
        """What the value is compared with."""
        ...

    async def read(self, now: float) -> TriggerReading:
        """Ask the source. Whatever goes wrong becomes ``TriggerReading.error``."""
        ...

    async def close(self) -> None:
        """Give back connections."""
        ...


@dataclass(frozen=True, slots=True)
class QueryAnswer:
    """``data`` of an instant query in the Prometheus HTTP API: its resultType and result.

    A vector is ``[{"metric": {...}, "value": [time, "1.5"]}, ...]``, as JSON would give it.
    """

    result_type: str  # vector, matrix, scalar, string
    result: Any


QueryFunction = Callable[[str, float], Awaitable[QueryAnswer]]
"""Ask the embedded storage: query, time. Raises StokerError when there can be no answer."""


UsageFunction = Callable[[str, str, float], ResourceUsage]
"""What pods use: resource (cpu, memory), container ("" is the whole pod), time.

Raises StokerError when there can be no answer. Pods of which nothing is known yet are left out.
"""


@dataclass(frozen=True, slots=True)
class TriggerContext:
    """What triggers need from where they run.

    ``query_for`` gives, for a ``serverAddress`` as written, the storage that answers in its place;
    None: ask the address over the network. ``pod_usage`` is what cpu and memory triggers ask; None:
    there is nobody who knows. ``auth`` are the parameters of the trigger's
    TriggerAuthentication, resolved.
    """

    query_for: Callable[[str], QueryFunction | None]
    namespace: str = "default"
    timeout: float = 3.0
    auth: Mapping[str, str] = field(default_factory=dict)
    pod_usage: UsageFunction | None = None


class Parameters:
    """The ``metadata`` of a trigger, read as KEDA's typed configuration reads it.

    Values are trimmed and an empty one counts as absent. Numbers are JSON numbers: "5" and "1e3"
    are, "+5", ".5", "5.", "1_000" and "10Gi" are not. Errors are collected and told together.
    """

    def __init__(self, metadata: Mapping[str, str], auth: Mapping[str, str] | None = None) -> None:
        self._metadata = metadata
        self._auth = auth or {}
        self._errors: list[str] = []

    def text(self, name: str, default: str | None = None) -> str:
        """A text; required when there is no default."""
        found = self.get(name)
        if found is not None:
            return found
        if default is None:
            self.refuse(f'missing required parameter "{name}" in [triggerMetadata]')
            return ""
        return default

    def get(self, name: str) -> str | None:
        """The trimmed text; None: absent or empty."""
        return self._metadata.get(name, "").strip() or None

    def auth(self, name: str) -> str | None:
        """A parameter from the TriggerAuthentication; None: absent or empty."""
        return self._auth.get(name, "").strip() or None

    def number(self, name: str, default: float | None = None) -> float:
        """A float; required when there is no default."""
        if default is not None and self.get(name) is None:
            return default
        text = self.text(name)
        if not text:
            return 0.0
        try:
            return json_number(text)
        except ValueError as error:
            self.refuse(f"unable to unmarshal to field type float64: {error}", name, text)
            return 0.0

    def boolean(self, name: str, *, default: bool) -> bool:
        """A boolean of Go's ParseBool: 1, t, T, true, TRUE, True and their opposites."""
        text = self.get(name)
        if text is None:
            return default
        if text in ("1", "t", "T", "true", "TRUE", "True"):
            return True
        if text not in ("0", "f", "F", "false", "FALSE", "False"):
            cause = f'strconv.ParseBool: parsing "{text}": invalid syntax'
            self.refuse(f'unable to parse boolean value "{text}": {cause}', name, text)
        return False

    def duration(self, name: str, default: float) -> float:
        """Seconds, written as a Go duration or as whole milliseconds. 0 is the default."""
        text = self.get(name)
        if text is None:
            return default
        try:
            return go_duration(text) or default
        except ValueError as error:
            self.refuse(str(error), name, text)
            return default

    def pairs(self, name: str) -> dict[str, str]:
        """``k=v,k2=v2``. A value cannot hold ``=`` or ``,``.

        The value is not repeated in the error: headers hold credentials.
        """
        found: dict[str, str] = {}
        for item in (self.get(name) or "").split(","):
            if not item.strip():
                continue
            key, sign, value = item.partition("=")
            if not sign or "=" in value:
                which = key.strip() if sign else item.strip()
                self.refuse(
                    f'unable to set param "{name}": expected format key=value, and no other "=" '
                    f'or "," in the value of "{which}"'
                )
                continue
            found[key.strip()] = value.strip()
        return found

    def refuse(self, problem: str, name: str | None = None, text: str | None = None) -> None:
        """Note a problem, with the parameter that has it."""
        prefix = "" if name is None else f'unable to set param "{name}" value "{text}": '
        self._errors.append(prefix + problem)

    def finish(self, kind: str) -> None:
        """Tell what was noted.

        Raises:
            InputError: there was something, in KEDA's words.
        """
        if self._errors:
            problems = "\n".join(self._errors)
            raise InputError(f"error parsing {kind} metadata: {problems}")


_DURATION_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")


def go_duration(text: str) -> float:
    """Seconds of ``1m30s`` or ``500`` (milliseconds).

    Raises:
        ValueError: neither, or negative.
    """
    if re.fullmatch(r"[+-]?\d+", text):
        if int(text) < 0:
            raise ValueError(f"duration cannot be negative: {text} milliseconds")
        return int(text) / 1000
    if not re.fullmatch(rf"[+-]?(?:{_DURATION.pattern})+", text):
        raise ValueError(
            f'unable to parse duration value "{text}": must be either a duration string '
            "(e.g. '30s', '5m') or a number of milliseconds"
        )
    if text.startswith("-"):
        raise ValueError(f"duration cannot be negative: {text}")
    return sum(float(n) * _DURATION_UNITS[unit] for n, unit in _DURATION.findall(text))
