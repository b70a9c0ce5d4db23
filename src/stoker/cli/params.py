"""Types of flags that several commands share."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stoker.clock import wall_time

if TYPE_CHECKING:
    from stoker.transport.tls import TlsFiles

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


class Moment(click.ParamType[float]):
    """``2026-11-17T08:00``, ``1795000000``, ``now`` or ``now-24h``. Without a zone it is UTC."""

    name = "time"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Seconds since the Unix epoch."""
        if isinstance(value, int | float):
            return float(value)
        text = str(value).strip()
        if text.startswith("now"):
            back = text.removeprefix("now").strip()
            if not back:
                return wall_time()
            if back.startswith("-"):
                return wall_time() - DURATION.convert(back[1:], param, ctx)
        try:
            return float(text)
        except ValueError:
            pass
        try:
            found = datetime.fromisoformat(text)
        except ValueError:
            self.fail(f"`{value}` is not a time: write 2026-11-17T08:00 or now-24h", param, ctx)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


MOMENT = Moment()


class PortOrOff(click.ParamType[int | str]):
    """A port, 0 for a free one, ``auto`` or ``off``."""

    name = "port|auto|off"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | str:
        """The number, or the word."""
        text = str(value).strip().lower()
        if text in {"auto", "off"}:
            return text
        if not text.isdecimal() or int(text) > 65535:
            self.fail(f"`{value}` is not a port: write 0 to 65535, auto or off", param, ctx)
        return int(text)


PORT_OR_OFF = PortOrOff()
PEM = click.Path(path_type=Path, dir_okay=False)


def tls_files(flags: Mapping[str, Any], prefix: str = "") -> TlsFiles | None:
    """The files of ``--tls-cert``, ``--tls-key`` and ``--tls-client-ca``; None without them."""
    from stoker.transport.tls import TlsFiles  # noqa: PLC0415 - keeps `--help` fast

    names = [f"{prefix}tls_{part}" for part in ("cert", "key", "client_ca")]
    cert, key, client_ca = (flags[name] for name in names)
    if cert is not None and key is not None:
        return TlsFiles(cert, key, client_ca)
    if any(flags[name] is not None for name in names):
        needed = [f"`--{name.replace('_', '-')}`" for name in names[:2] if flags[name] is None]
        verb = "is" if len(needed) == 1 else "are"
        raise click.UsageError(f"{' and '.join(needed)} {verb} needed for TLS, too")
    return None


class Target(click.ParamType[tuple[str, float]]):
    """``queue=5``: what the value of a trigger is compared with."""

    name = "target"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, float]:
        """The name of the trigger, and the number."""
        if isinstance(value, tuple):
            return value
        name, sign, number = str(value).rpartition("=")
        try:
            target = float(number)
        except ValueError:
            target = 0.0
        if not sign or not name or not 0 < target < float("inf"):
            self.fail(f"`{value}` is not a target: write queue=5, more than 0", param, ctx)
        return name, target


TARGET = Target()


class Header(click.ParamType[tuple[str, str]]):
    """``Authorization: Bearer ...``, as after curl's ``-H``."""

    name = "header"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """Name and value. The value is in no error: it may be a credential."""
        if isinstance(value, tuple):
            return value
        name, sign, text = str(value).partition(":")
        if not sign or not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name.strip()):
            self.fail("a header is written `Name: value`", param, ctx)
        if "\n" in text or "\r" in text:
            self.fail(f"the value of `{name.strip()}` has a line break", param, ctx)
        return name.strip(), text.strip()


HEADER = Header()
