"""Types of flags that several commands share."""

from __future__ import annotations

import re
from typing import Any

import click

_PARTS = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


class Duration(click.ParamType[float]):
    """``15s``, ``1m30s``, ``500ms``, or plain seconds: as in the flags of Kubernetes."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Seconds."""
        if isinstance(value, int | float):
            return float(value)
        text = str(value).strip()
        parts = _PARTS.findall(text)
        if parts and "".join(number + unit for number, unit in parts) == text:
            return sum(float(number) * _SECONDS[unit] for number, unit in parts)
        try:
            seconds = float(text)
        except ValueError:
            seconds = -1.0
        if not 0 <= seconds < float("inf"):
            self.fail(f"`{value}` is not a duration: write 15s, 1m30s or 500ms", param, ctx)
        return seconds


DURATION = Duration()
