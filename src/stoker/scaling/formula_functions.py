"""What formulas compute with: values, operators and functions."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import TypeAlias

from stoker.errors import InputError, Place
from stoker.scaling import numbers

Value: TypeAlias = "float | int | bool | str | list[Value] | None"
_MOST_ELEMENTS = 1_000_000


def fail(message: str, column: int, *, hint: str | None = None) -> InputError:
    """The error at *column* of the formula."""
    return InputError(message, hint=hint, place=Place("formula", 1, column))


def to_float(value: Value, column: int) -> float:
    """``float(value)`` of the language: numbers, and texts that are numbers."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            raise fail(f"{value!r} is not a number", column) from None
    return float(number(value, column))


def _kind(value: Value) -> str:
    if value is None:
        return "nil"
    return {bool: "bool", int: "int", float: "float64", str: "string", list: "array"}[type(value)]


def number(value: Value, column: int) -> float | int:
    """*value*, which has to be a number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise fail(f"expected a number, found {_kind(value)}", column)
    return value


def boolean(value: Value, column: int) -> bool:
    """*value*, which has to be true or false."""
    if not isinstance(value, bool):
        raise fail(f"expected true or false, found {_kind(value)}", column)
    return value


def equal(left: Value, right: Value) -> bool:
    """``==`` of the language."""
    # Python takes True for 1, the language does not
    return isinstance(left, bool) == isinstance(right, bool) and left == right


_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_OPERATIONS: dict[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": lambda left, right: numbers.ratio(float(left), float(right)),
    "**": lambda left, right: _power(float(left), float(right)),
    "^": lambda left, right: _power(float(left), float(right)),
}


def arithmetic(sign: str, left: Value, right: Value, column: int) -> Value:
    """Apply a binary operator to two numbers."""
    one, other = number(left, column), number(right, column)
    if sign in _COMPARISONS:
        return _COMPARISONS[sign](one, other)
    if sign in _OPERATIONS:
        result = _OPERATIONS[sign](one, other)
        return numbers.wrap_int64(result) if isinstance(result, int) else result
    if not isinstance(one, int) or not isinstance(other, int):
        raise fail(f"{sign} is for whole numbers: int({sign}) has float64", column)
    if sign == "..":
        if other - one >= _MOST_ELEMENTS:
            raise fail("the range has too many numbers", column)
        return list(range(one, other + 1))
    if other == 0:
        raise fail("integer divide by zero", column)
    return int(math.fmod(one, other))  # the sign of the left side, as in Go


def _power(base: float, exponent: float) -> float:
    try:
        return math.pow(base, exponent)
    except OverflowError:
        return math.inf if base > 0 or exponent % 2 == 0 else -math.inf
    except ValueError:
        return math.inf if base == 0 else math.nan


def _flat(arguments: list[Value], column: int) -> list[float | int]:
    """The numbers among *arguments*, with those in arrays."""
    found: list[float | int] = []
    for argument in arguments:
        if isinstance(argument, list):
            found.extend(_flat(argument, column))
        else:
            found.append(number(argument, column))
    return found


def add_up(items: list[Value], column: int) -> Value:
    """The sum of numbers."""
    return sum((number(item, column) for item in items), start=0)


def _most(
    pick: Callable[[list[float | int]], float | int],
) -> Callable[[list[Value], int], Value]:
    def call(arguments: list[Value], column: int) -> Value:
        found = _flat(arguments, column)
        if not found:
            raise fail("not enough arguments", column)
        return pick(found)

    return call


def _one(
    compute: Callable[[float | int], float | int],
) -> Callable[[list[Value], int], Value]:
    def call(arguments: list[Value], column: int) -> Value:
        if len(arguments) != 1:
            raise fail(f"expected 1 argument, found {len(arguments)}", column)
        argument = number(arguments[0], column)
        return compute(argument) if math.isfinite(argument) else argument

    return call


def _median(found: list[float | int]) -> float:
    ordered = sorted(found)
    middle = len(ordered) // 2
    if len(ordered) % 2:
        return float(ordered[middle])
    return (ordered[middle - 1] + ordered[middle]) / 2


def _cast(kind: Callable[[float], float | int]) -> Callable[[list[Value], int], Value]:
    def call(arguments: list[Value], column: int) -> Value:
        if len(arguments) != 1:
            raise fail(f"expected 1 argument, found {len(arguments)}", column)
        if arguments[0] is None:
            return None  # so that a ?? around it still sees nil
        return kind(to_float(arguments[0], column))

    return call


def _length(arguments: list[Value], column: int) -> Value:
    if len(arguments) != 1 or not isinstance(arguments[0], list | str):
        raise fail("len needs an array", column)
    return len(arguments[0])


def _end(which: int) -> Callable[[list[Value], int], Value]:
    def call(arguments: list[Value], column: int) -> Value:
        if len(arguments) != 1 or not isinstance(arguments[0], list):
            raise fail("expected an array", column)
        return arguments[0][which] if arguments[0] else None

    return call


FUNCTIONS: dict[str, Callable[[list[Value], int], Value]] = {
    "abs": _one(abs),
    "ceil": _one(lambda x: float(math.ceil(x))),
    "first": _end(0),
    "float": _cast(float),
    "floor": _one(lambda x: float(math.floor(x))),
    "int": _cast(numbers.int64),
    "last": _end(-1),
    "len": _length,
    "max": _most(max),
    "mean": _most(lambda found: sum(found) / len(found)),
    "median": _most(_median),
    "min": _most(min),
    # half away from zero, as in Go
    "round": _one(lambda x: math.copysign(float(math.floor(abs(x) + 0.5)), x)),
}
