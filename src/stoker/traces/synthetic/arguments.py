"""Arguments of calls: names, defaults, and what a value must be."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from stoker.traces.synthetic.grammar import Call, problem

Built = TypeVar("Built")


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument that a call takes."""

    name: str
    default: float | str | None = None  # None: it must be given
    positive: bool = False  # 0 is refused, too
    text: bool = False  # a text instead of a number

    def __str__(self) -> str:
        return self.name if self.default is None else f"{self.name}={self.default:g}"


@dataclass(frozen=True, slots=True)
class Signature(Generic[Built]):
    """What a name stands for, and the arguments it takes, in their order."""

    parameters: tuple[Parameter, ...]
    build: Callable[..., Built]
    says: str

    def usage(self, name: str) -> str:
        """``diurnal(base, peak, period=86400)``."""
        return f"{name}({', '.join(map(str, self.parameters))})"


def build(call: Call, known: Mapping[str, Signature[Built]], text: str) -> Built:
    """What a call stands for.

    Raises:
        InputError: an unknown name or argument, a missing one, a value out of range.
    """
    if call.name not in known:
        close = difflib.get_close_matches(call.name, known, n=1)
        meant = f"did you mean `{close[0]}`? " if close else ""
        names = ", ".join(signature.usage(name) for name, signature in known.items())
        raise problem(text, call.at, f"unknown `{call.name}`", hint=f"{meant}known are {names}")
    signature = known[call.name]
    values = _values(call, signature, text)
    for parameter in signature.parameters:
        if parameter.name not in values:
            if parameter.default is None:
                raise problem(
                    text, call.at, f"`{parameter.name}` is missing", hint=signature.usage(call.name)
                )
            values[parameter.name] = parameter.default
    return signature.build(**{name.replace("-", "_"): value for name, value in values.items()})


def _values(call: Call, signature: Signature[Built], text: str) -> dict[str, float | str]:
    values: dict[str, float | str] = {}
    known = {parameter.name: parameter for parameter in signature.parameters}
    for place, argument in enumerate(call.arguments):
        if argument.name:
            parameter = known.get(argument.name)
        else:
            parameter = signature.parameters[place] if place < len(signature.parameters) else None
        if parameter is None:
            what = f"no argument `{argument.name}`" if argument.name else "one argument too many"
            raise problem(text, argument.at, what, hint=signature.usage(call.name))
        if parameter.name in values:
            raise problem(text, argument.at, f"`{parameter.name}` is given twice")
        value = argument.value
        if parameter.text != isinstance(value, str):
            wanted = "a text in quotes" if parameter.text else "a number"
            raise problem(text, argument.at, f"`{parameter.name}` must be {wanted}")
        if isinstance(value, float) and (value < 0 or (parameter.positive and value == 0)):
            least = "more than 0" if parameter.positive else "0 or more"
            raise problem(text, argument.at, f"`{parameter.name}` = {value:g}, must be {least}")
        values[parameter.name] = value
    return values
