"""The nodes of a formula: each knows its column and how to compute itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from stoker.scaling.formula_functions import (
    FUNCTIONS,
    Value,
    add_up,
    arithmetic,
    boolean,
    equal,
    fail,
    number,
)

Variables = Mapping[str, "Value"]
_ELEMENT = "#"  # what a predicate looks at; no trigger can have this name


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
            return not boolean(value, self.column)
        operand = number(value, self.column)
        return -operand if self.sign == "-" else operand

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
        if boolean(self.condition.value(variables), self.column):
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
            return boolean(left, self.column) and boolean(self.right.value(variables), self.column)
        if self.sign in ("||", "or"):
            return boolean(left, self.column) or boolean(self.right.value(variables), self.column)
        right = self.right.value(variables)
        if self.sign in ("==", "!="):
            return equal(left, right) == (self.sign == "==")
        if self.sign == "in":
            if not isinstance(right, list):
                raise fail("`in` needs an array on its right", self.column)
            return any(equal(left, item) for item in right)
        return arithmetic(self.sign, left, right, self.column)

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
            return add_up(results, self.column)
        kept = [boolean(result, self.column) for result in results]
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


def names_in(node: Node) -> Iterator[tuple[str, int]]:
    """The triggers that *node* speaks of, with their columns."""
    if isinstance(node, Name):
        yield node.name, node.column
    for part in node.parts():
        yield from names_in(part)
