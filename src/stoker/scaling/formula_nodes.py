"""The nodes of a formula: each knows its column and how to compute itself."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from stoker.errors import InputError, Place
from stoker.scaling import numbers

Value: TypeAlias = "float | int | bool | str | list[Value] | None"
Variables = Mapping[str, "Value"]
_ELEMENT = "#"  # what a predicate looks at; no trigger can have this name
_MOST_ELEMENTS = 1_000_000


class Node(Protocol):
    """A part of a formula. ``column`` counts from 1."""

    @property
    def column(self) -> int:
        """Where it stands."""
        ...

    def value(self, variables: Variables) -> Value:
        """Compute it."""
        ...

    def parts(self) -> tuple[Node, ...]:
        """The nodes directly below."""
        ...


@dataclass(frozen=True, slots=True)
class Literal:
    """A number, a text, true, false or nil."""

    column: int
    constant: float | int | str | bool | None

    def value(self, variables: Variables) -> Value:  # noqa: ARG002
        """The constant."""
        return self.constant

    def parts(self) -> tuple[Node, ...]:
        """None."""
        return ()


@dataclass(frozen=True, slots=True)
class Name:
    """The value of a trigger."""

    column: int
    name: str

    def value(self, variables: Variables) -> Value:
        """What the trigger said; nil when it failed."""
        if self.name not in variables:
            raise fail(f"unknown name {self.name}", self.column)
        return variables[self.name]

    def parts(self) -> tuple[Node, ...]:
        """None."""
        return ()


@dataclass(frozen=True, slots=True)
class Element:
    """``#`` in a predicate."""

    column: int

    def value(self, variables: Variables) -> Value:
        """The element that the predicate looks at."""
        return variables[_ELEMENT]

    def parts(self) -> tuple[Node, ...]:
        """None."""
        return ()


@dataclass(frozen=True, slots=True)
class Array:
    """``[a, b]``."""

    column: int
    items: tuple[Node, ...]

    def value(self, variables: Variables) -> Value:
        """All items."""
        return [item.value(variables) for item in self.items]

    def parts(self) -> tuple[Node, ...]:
        """The items."""
        return self.items


@dataclass(frozen=True, slots=True)
class Index:
    """``array[i]``; negative counts from the end."""

    column: int
    array: Node
    index: Node

    def value(self, variables: Variables) -> Value:
        """The item."""
        items, index = self.array.value(variables), self.index.value(variables)
        if not isinstance(items, list) or isinstance(index, bool) or not isinstance(index, int):
            raise fail("only an array has items, and only by a whole number", self.column)
        if not -len(items) <= index < len(items):
            raise fail(f"index {index} is out of range for {len(items)} items", self.column)
        return items[index]

    def parts(self) -> tuple[Node, ...]:
        """Array and index."""
        return (self.array, self.index)


@dataclass(frozen=True, slots=True)
class Unary:
    """``-a``, ``not a``."""

    column: int
    sign: str
    operand: Node

    def value(self, variables: Variables) -> Value:
        """Compute it."""
        value = self.operand.value(variables)
        if self.sign in ("!", "not"):
            return not _bool(value, self.column)
        number = _number(value, self.column)
        return -number if self.sign == "-" else number

    def parts(self) -> tuple[Node, ...]:
        """The operand."""
        return (self.operand,)


@dataclass(frozen=True, slots=True)
class Conditional:
    """``a ? b : c``."""

    column: int
    condition: Node
    then: Node
    otherwise: Node

    def value(self, variables: Variables) -> Value:
        """One of the two."""
        if _bool(self.condition.value(variables), self.column):
            return self.then.value(variables)
        return self.otherwise.value(variables)

    def parts(self) -> tuple[Node, ...]:
        """All three."""
        return (self.condition, self.then, self.otherwise)


@dataclass(frozen=True, slots=True)
class Binary:
    """An operator between two values."""

    column: int
    sign: str
    left: Node
    right: Node

    def value(self, variables: Variables) -> Value:
        """Compute it; the right side of ``and``, ``or`` and ``??`` only when it counts."""
        left = self.left.value(variables)
        if self.sign == "??":
            return self.right.value(variables) if left is None else left
        if self.sign in ("&&", "and"):
            return _bool(left, self.column) and _bool(self.right.value(variables), self.column)
        if self.sign in ("||", "or"):
            return _bool(left, self.column) or _bool(self.right.value(variables), self.column)
        right = self.right.value(variables)
        if self.sign in ("==", "!="):
            return _equal(left, right) == (self.sign == "==")
        if self.sign == "in":
            if not isinstance(right, list):
                raise fail("`in` needs an array on its right", self.column)
            return any(_equal(left, item) for item in right)
        return _arithmetic(self.sign, left, right, self.column)

    def parts(self) -> tuple[Node, ...]:
        """Both sides."""
        return (self.left, self.right)


@dataclass(frozen=True, slots=True)
class Call:
    """A function of values."""

    column: int
    name: str
    arguments: tuple[Node, ...]

    def value(self, variables: Variables) -> Value:
        """Call it."""
        arguments = [argument.value(variables) for argument in self.arguments]
        return FUNCTIONS[self.name](arguments, self.column)

    def parts(self) -> tuple[Node, ...]:
        """The arguments."""
        return self.arguments


@dataclass(frozen=True, slots=True)
class Predicated:
    """A function of an array and a condition on its elements."""

    column: int
    name: str
    over: Node
    predicate: Node | None  # None: the elements themselves

    def value(self, variables: Variables) -> Value:
        """Call it."""
        items = self.over.value(variables)
        if not isinstance(items, list):
            raise fail(f"{self.name} needs an array", self.column)
        predicate = self.predicate
        results = (
            items
            if predicate is None
            else [predicate.value({**variables, _ELEMENT: item}) for item in items]
        )
        if self.name == "map":
            return results
        if self.name == "sum":
            return _sum(results, self.column)
        kept = [_bool(result, self.column) for result in results]
        if self.name == "filter":
            return [item for item, keep in zip(items, kept, strict=True) if keep]
        return {
            "count": sum(kept),
            "all": all(kept),
            "any": any(kept),
            "none": not any(kept),
            "one": sum(kept) == 1,
        }[self.name]

    def parts(self) -> tuple[Node, ...]:
        """Array and condition."""
        return (self.over,) if self.predicate is None else (self.over, self.predicate)


PREDICATE_FUNCTIONS = frozenset({"all", "any", "count", "filter", "map", "none", "one", "sum"})


def fail(message: str, column: int, *, hint: str | None = None) -> InputError:
    """The error at *column* of the formula."""
    return InputError(message, hint=hint, place=Place("formula", 1, column))


def names_in(node: Node) -> Iterator[tuple[str, int]]:
    """The triggers that *node* speaks of, with their columns."""
    if isinstance(node, Name):
        yield node.name, node.column
    for part in node.parts():
        yield from names_in(part)


def to_float(value: Value, column: int) -> float:
    """``float(value)`` of the language: numbers, and texts that are numbers."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            raise fail(f"{value!r} is not a number", column) from None
    return float(_number(value, column))


def _kind(value: Value) -> str:
    if value is None:
        return "nil"
    return {bool: "bool", int: "int", float: "float64", str: "string", list: "array"}[type(value)]


def _number(value: Value, column: int) -> float | int:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise fail(f"expected a number, found {_kind(value)}", column)
    return value


def _bool(value: Value, column: int) -> bool:
    if not isinstance(value, bool):
        raise fail(f"expected true or false, found {_kind(value)}", column)
    return value


def _equal(left: Value, right: Value) -> bool:
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


def _arithmetic(sign: str, left: Value, right: Value, column: int) -> Value:
    one, other = _number(left, column), _number(right, column)
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
            found.append(_number(argument, column))
    return found


def _sum(items: list[Value], column: int) -> Value:
    return sum((_number(item, column) for item in items), start=0)


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
        number = _number(arguments[0], column)
        return compute(number) if math.isfinite(number) else number

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
