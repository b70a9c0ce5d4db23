"""The parameters of a trigger: declared once, read as KEDA's typed configuration reads them.

A declaration says what users write, where it is looked up and in which order, its type and its
default. From the same declarations come the values of a trigger, the words of what is wrong, and
``docs/reference/triggers.md``.

*Source*: ``pkg/scalers/scalersconfig/typed_config.go`` of KEDA 2.20.
"""

from __future__ import annotations

import contextlib
import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from stoker.errors import InputError
from stoker.scaling.numbers import json_number

HIDDEN = "***"  # in place of a secret
Type = Literal["string", "bool", "int64", "float64", "duration", "list", "map", "URL parameters"]


class Source(StrEnum):
    """Where the value of a parameter is looked up."""

    METADATA = "triggerMetadata"  # `metadata` of the trigger
    ENV = "resolvedEnv"  # a variable of the target's container, named by `...FromEnv`
    AUTH = "authParams"  # the TriggerAuthentication


METADATA = (Source.METADATA,)
AUTH = (Source.AUTH,)


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter. ``names`` has what is tried first at its head.

    ``default`` is as a user would write it; None: without one, the parameter is just absent.
    ``note`` says what Stoker does otherwise than KEDA.
    """

    names: tuple[str, ...]
    about: str
    type: Type = "string"
    order: tuple[Source, ...] = METADATA
    default: str | None = None
    required: bool = False
    enum: tuple[str, ...] = ()
    exclusive: tuple[str, ...] = ()  # of these, a list may have one
    removed: str = ""  # KEDA refuses it, with these words
    secret: bool = False  # its value is never shown
    note: str = ""

    @property
    def name(self) -> str:
        """The first of its names."""
        return self.names[0]


def parameter(names: str, about: str, type: Type = "string", **more: Any) -> Parameter:  # noqa: A002 - KEDA's word, at the place of a type
    """A declaration; several *names* are separated by ``;`` as in KEDA's own."""
    return Parameter(tuple(names.split(";")), about, type, **more)


class Secrets(dict[str, str]):
    """Values that must not be shown: ``repr`` has the names only."""

    def __repr__(self) -> str:
        return f"Secrets({', '.join(sorted(self))})"

    __str__ = __repr__


@dataclass(frozen=True, slots=True)
class Given:
    """What was given to a trigger, by source."""

    metadata: Mapping[str, str]
    auth: Mapping[str, str]
    env: Mapping[str, str]

    def __repr__(self) -> str:
        return f"Given(metadata={dict(self.metadata)!r}, auth={Secrets(self.auth)!r})"

    def find(self, declared: Parameter) -> tuple[str | None, Source | None]:
        """The trimmed text of a parameter and where it was. An empty text counts as absent."""
        for source in declared.order:
            for name in declared.names:
                if source is Source.METADATA:
                    found = self.metadata.get(name, "")
                elif source is Source.AUTH:
                    found = self.auth.get(name, "")
                else:
                    found = self.env.get(self.metadata.get(f"{name}FromEnv", ""), "")
                if found.strip():
                    return found.strip(), source
        return None, None


def secret_values(declared: Sequence[Parameter], given: Given) -> set[str]:
    """The texts that must not be shown: of secret parameters, and of those that nobody declared.

    The latter are what is in an authentication or a variable and is passed on, or not used at all.
    """
    known = {name for one in declared for name in one.names}
    found = {given.find(one)[0] or "" for one in declared if one.secret}
    found |= {value for name, value in given.auth.items() if name not in known}
    for key, variable in given.metadata.items():
        if key.endswith("FromEnv") and key.removesuffix("FromEnv") not in known:
            found.add(given.env.get(variable, ""))
    for text in tuple(found):  # an address may hold a password
        with contextlib.suppress(ValueError):
            password = urlsplit(text).password
            found |= {password, unquote(password)} if password else set()
    return found - {""}


class Parameters:
    """The values of all declared parameters.

    Numbers are JSON numbers: "5" and "1e3" are, "+5", ".5", "5.", "1_000" and "10Gi" are not.
    Errors are collected and told together by :meth:`finish`.
    """

    def __init__(
        self,
        declared: Sequence[Parameter],
        metadata: Mapping[str, str],
        auth: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self._given = Given(metadata, auth or {}, env or {})
        self._values: dict[str, Any] = {}
        self._sources: dict[str, Source | None] = {}
        self._errors: list[str] = []
        self._missing: list[str] = []
        self._known = {name for one in declared for name in one.names}
        for one in declared:
            self._values[one.name], self._sources[one.name] = self._read(one)

    def __repr__(self) -> str:
        return f"Parameters({', '.join(self._values)})"

    # -- values ----------------------------------------------------------------------------------

    def get(self, name: str) -> str | None:
        """A text; None: absent."""
        found: str | None = self._values[name]
        return found

    def text(self, name: str) -> str:
        """A text; empty: absent."""
        return self.get(name) or ""

    def number(self, name: str) -> float:
        """A float64; absent is 0, as in Go."""
        return float(self._values[name] or 0.0)

    def whole(self, name: str) -> int:
        """An int64; absent is 0, as in Go."""
        return int(self._values[name] or 0)

    def boolean(self, name: str) -> bool:
        """A bool; absent is false, as in Go."""
        return bool(self._values[name])

    def duration(self, name: str, default: float) -> float:
        """Seconds. Absent or 0 is *default*."""
        return float(self._values[name] or default)

    def items(self, name: str) -> tuple[str, ...]:
        """A list; empty: absent."""
        return tuple(self._values[name] or ())

    def pairs(self, name: str) -> dict[str, str]:
        """A map; empty: absent."""
        return dict(self._values[name] or {})

    def source(self, name: str) -> Source | None:
        """Where the value was found; None: absent, or the default."""
        return self._sources[name]

    # -- problems --------------------------------------------------------------------------------

    def refuse(self, problem: str) -> None:
        """Note a problem that shows only when parameters are seen together."""
        self._errors.append(problem)

    def finish(self, kind: str) -> None:
        """Tell what was noted.

        Raises:
            InputError: there was something, in KEDA's words.
        """
        if self._errors:
            problems = "\n".join(self._errors)
            raise InputError(f"error parsing {kind} metadata: {problems}", hint=self._near())

    def _near(self) -> str | None:
        """Names in the metadata that nobody reads and that are nearly one that is missing."""
        unread = [name for name in self._given.metadata if name not in self._known]
        slips = [
            f"did you mean `{name}` where `{written}` is written?"
            for name in self._missing
            for written in difflib.get_close_matches(name, unread, n=1)
        ]
        return " ".join(slips) or None

    # -- reading ---------------------------------------------------------------------------------

    def _read(self, declared: Parameter) -> tuple[Any, Source | None]:
        text, source = self._given.find(declared)
        names = ",".join(declared.names)
        if text is not None and declared.removed:
            self._errors.append(f'parameter "{names}" is deprecated: {declared.removed}')
            return None, source
        if text is None:
            text = declared.default
        if text is None:
            if declared.required:
                order = " ".join(declared.order)
                self._errors.append(f'missing required parameter "{names}" in [{order}]')
                self._missing += declared.names
            return None, None
        if problem := _choice(declared, text):
            self._errors.append(f'parameter "{names}" value "{text}" {problem}')
            return None, source
        try:
            return _value(declared, text), source
        except ValueError as error:
            self._errors.append(_unusable(declared, text, str(error)))
            return None, source


def _unusable(declared: Parameter, text: str, problem: str) -> str:
    name = ",".join(declared.names)
    if declared.type == "map":  # headers hold credentials, so their values are not repeated
        return f'unable to set param "{name}": {problem}'
    if declared.secret:
        return f'unable to set param "{name}" value "{HIDDEN}": {problem.replace(text, HIDDEN)}'
    return f'unable to set param "{name}" value "{text}": {problem}'


def _choice(declared: Parameter, text: str) -> str | None:
    """What is wrong with a text of which each item must be one of some words."""
    items = [item.strip() for item in text.split(",")]
    if declared.enum and any(item not in declared.enum for item in items):
        return f"must be one of [{' '.join(declared.enum)}]"
    if sum(item in declared.exclusive for item in items) > 1:
        return f"must contain only one of [{' '.join(declared.exclusive)}]"
    return None


def _value(declared: Parameter, text: str) -> Any:
    read = _READERS.get(declared.type)
    return text if read is None else read(text)


def _number(text: str) -> float:
    try:
        return json_number(text)
    except ValueError as error:
        raise ValueError(f"unable to unmarshal to field type float64: {error}") from None


def _whole(text: str) -> int:
    problem = f"json: cannot unmarshal number {text} into Go value of type int64"
    try:
        json_number(text)
    except ValueError as error:
        problem = str(error)
    if text == "null":  # JSON's null leaves a number as it is
        return 0
    if not re.fullmatch(r"-?(0|[1-9][0-9]*)", text) or not -(2**63) <= int(text) < 2**63:
        raise ValueError(f"unable to unmarshal to field type int64: {problem}")
    return int(text)


def _boolean(text: str) -> bool:
    """Go's ParseBool."""
    if text in ("1", "t", "T", "true", "TRUE", "True"):
        return True
    if text not in ("0", "f", "F", "false", "FALSE", "False"):
        cause = f'strconv.ParseBool: parsing "{text}": invalid syntax'
        raise ValueError(f'unable to parse boolean value "{text}": {cause}')
    return False


def _pairs(text: str) -> dict[str, str]:
    """``k=v,k2=v2``. A value cannot hold ``=`` or ``,``."""
    found: dict[str, str] = {}
    for item in text.split(","):
        if not item.strip():
            continue
        key, sign, value = item.partition("=")
        if not sign or "=" in value:
            which = key.strip() if sign else item.strip()
            raise ValueError(
                f'expected format key=value, and no other "=" or "," in the value of "{which}"'
            )
        found[key.strip()] = value.strip()
    return found


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


def _items(text: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in text.split(","))


_READERS: Mapping[Type, Callable[[str], Any]] = {
    "bool": _boolean,
    "int64": _whole,
    "float64": _number,
    "duration": go_duration,
    "list": _items,
    "map": _pairs,
}
