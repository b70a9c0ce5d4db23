"""Regular expressions as Prometheus means them (RE2), which no pattern can make run away.

Python's ``re`` tries possibilities one after the other: ``(a+)+b`` takes 2^n steps. A match is left
to ``re`` only while the worst case is small, n^k steps for k open repetitions of which none lies in
another; beyond that all possibilities are followed at once, as RE2 does, in n * m steps.

Source of the simulation: Ken Thompson, "Regular Expression Search Algorithm", CACM 11(6), 1968.
"""

from __future__ import annotations

import importlib
import re
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from stoker.errors import QueryError

_MAX_STEPS: Final = 100_000  # of backtracking: a millisecond
_MAX_PROGRAM: Final = 20_000
_FLAGS = re.compile(r"\(\?([ims]+)\)")
_QUOTED = re.compile(r"\\Q(.*?)(?:\\E|$)", re.DOTALL)
_CLASS = re.compile(r"\[:(\w+):\]")
_CLASSES: Final = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "digit": "0-9",
    "lower": "a-z",
    "upper": "A-Z",
    "space": r"\t\n\v\f\r ",
    "word": "0-9A-Za-z_",
    "xdigit": "0-9A-Fa-f",
    "punct": r"!-/:-@\[-`{-~",
    "blank": r"\t ",
}
_SPACES: Final = " \t\n\r\f\v"

Test = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class _Char:
    """Takes one character and goes on with the next instruction."""

    test: Test


@dataclass(frozen=True, slots=True)
class _Split:
    """Goes on at several instructions."""

    to: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Edge:
    """Goes on only at the beginning, or only at the end, of the text."""

    is_end: bool


_Instruction = _Char | _Split | _Edge


class Regex:
    """A pattern that is matched against whole texts."""

    __slots__ = ("_degree", "_program", "_tree", "compiled", "pattern")

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        flags = _FLAGS.match(pattern)
        body = pattern[flags.end() :] if flags else pattern
        letters = "".join(sorted({*"as", *(flags[1] if flags else "")}))
        source = f"(?{letters}:{_in_python(body)})"
        try:
            with warnings.catch_warnings(
                action="ignore"
            ):  # of what a later Python may read into it
                self.compiled = re.compile(source)
                parser: Any = importlib.import_module("re._parser")
                self._tree = parser.parse(source)
        except (re.error, OverflowError, RecursionError) as error:
            raise QueryError(f'invalid regular expression "{pattern}": {error}') from error
        self._degree = _degree(self._tree, pattern, inside=False)
        self._program: list[_Instruction] | None = None

    def matches(self, text: str) -> bool:
        """Whether the whole *text* matches."""
        if self._is_cheap(text):
            return self.compiled.fullmatch(text) is not None
        if self._program is None:
            self._program = _compiled(self._tree, self.pattern)
        return _simulated(self._program, text)

    def fullmatch(self, text: str) -> re.Match[str] | None:
        """The match with its groups. Raises QueryError where finding them could take too long."""
        if self._is_cheap(text):
            return self.compiled.fullmatch(text)
        if not self.matches(text):
            return None
        raise QueryError(
            f'regular expression "{self.pattern}" is too costly for groups of '
            f"{len(text)} characters",
            hint="repetitions inside repetitions make it so",
        )

    def _is_cheap(self, text: str) -> bool:
        degree = self._degree
        return degree == 0 or (degree > 0 and max(len(text), 2) ** degree <= _MAX_STEPS)


@lru_cache(maxsize=1024)
def compile_regex(pattern: str) -> Regex:
    """A regular expression, anchored, where a dot matches a newline. Raises QueryError."""
    return Regex(pattern)


def _in_python(pattern: str) -> str:
    r"""What RE2 writes in another way: ``\Q...\E``, ``\z``, ``[[:alpha:]]``."""
    pattern = _QUOTED.sub(lambda found: re.escape(found[1]), pattern)
    pattern = _CLASS.sub(lambda found: _CLASSES.get(found[1], found[0]), pattern)
    return pattern.replace(r"\z", r"\Z")


def _degree(tree: Iterable[Any], pattern: str, *, inside: bool) -> int:
    """How many repetitions multiply; -1 if one lies in another or has alternatives in it."""
    total = 0
    for op, argument in tree:
        match str(op):
            case "MAX_REPEAT" | "MIN_REPEAT":
                low, high, body = argument
                inner = _degree(body, pattern, inside=inside or int(high) > 1)
                choices = int(high) != int(low)
                if inner < 0 or (inside and choices):
                    return -1
                total += inner + choices
            case "SUBPATTERN":
                inner = _degree(argument[3], pattern, inside=inside)
                if inner < 0:
                    return -1
                total += inner
            case "BRANCH":
                if inside:
                    return -1
                degrees = [_degree(one, pattern, inside=inside) for one in argument[1]]
                if min(degrees) < 0:
                    return -1
                total += max(degrees)
            case "LITERAL" | "NOT_LITERAL" | "ANY" | "IN" | "AT" | "CATEGORY":
                continue
            case _:
                raise QueryError(
                    f'invalid regular expression "{pattern}": no look-around, no references',
                    hint="Prometheus' regular expressions are those of RE2",
                )
    return total


# -- all possibilities at once -------------------------------------------------------------------


def _compiled(tree: Any, pattern: str) -> list[_Instruction]:
    program: list[_Instruction] = []
    _emit(program, tree, pattern, ignore_case=False)
    return program


def _emit(
    program: list[_Instruction], tree: Iterable[Any], pattern: str, *, ignore_case: bool
) -> None:
    for op, argument in tree:
        if len(program) > _MAX_PROGRAM:
            raise QueryError(f'regular expression "{pattern}" is too large')
        match str(op):
            case "SUBPATTERN":
                folded = (ignore_case or bool(argument[1] & re.IGNORECASE)) and not argument[
                    2
                ] & re.IGNORECASE
                _emit(program, argument[3], pattern, ignore_case=folded)
            case "BRANCH":
                _emit_branches(program, argument[1], pattern, ignore_case=ignore_case)
            case "MAX_REPEAT" | "MIN_REPEAT":
                _emit_repeat(program, argument, pattern, ignore_case=ignore_case)
            case "AT" if str(argument) in {"AT_BEGINNING", "AT_BEGINNING_STRING"}:
                program.append(_Edge(is_end=False))
            case "AT" if str(argument) in {"AT_END", "AT_END_STRING"}:
                program.append(_Edge(is_end=True))
            case "AT":
                raise QueryError(f'regular expression "{pattern}" is too costly with `\\b`')
            case _:
                test = _single(op, argument)
                program.append(_Char(_folded(test) if ignore_case else test))


def _emit_branches(
    program: list[_Instruction], branches: list[Any], pattern: str, *, ignore_case: bool
) -> None:
    at = len(program)
    program.append(_Split(()))
    begins, ends = [], []
    for branch in branches:
        begins.append(len(program))
        _emit(program, branch, pattern, ignore_case=ignore_case)
        ends.append(len(program))
        program.append(_Split(()))
    program[at] = _Split(tuple(begins))
    for end in ends:
        program[end] = _Split((len(program),))


def _emit_repeat(
    program: list[_Instruction], argument: Any, pattern: str, *, ignore_case: bool
) -> None:
    low, high, body = argument
    for _ in range(int(low)):
        _emit(program, body, pattern, ignore_case=ignore_case)
    if str(high) == "MAXREPEAT":
        begin = len(program)
        program.append(_Split(()))
        _emit(program, body, pattern, ignore_case=ignore_case)
        program.append(_Split((begin,)))
        program[begin] = _Split((begin + 1, len(program)))
        return
    skips = []
    for _ in range(int(high) - int(low)):
        skips.append(len(program))
        program.append(_Split(()))
        _emit(program, body, pattern, ignore_case=ignore_case)
    for skip in skips:
        program[skip] = _Split((skip + 1, len(program)))


def _folded(test: Test) -> Test:
    return lambda c: test(c) or test(c.lower()) or test(c.upper())


def _single(op: Any, argument: Any) -> Test:
    """What a node that takes one character accepts."""
    match str(op):
        case "LITERAL":
            return chr(argument).__eq__
        case "NOT_LITERAL":
            return chr(argument).__ne__
        case "ANY":
            return lambda _: True
        case _:
            negate = any(str(kind) == "NEGATE" for kind, _ in argument)
            tests = [_item(kind, what) for kind, what in argument if str(kind) != "NEGATE"]
            return lambda c: any(test(c) for test in tests) != negate


def _item(kind: Any, what: Any) -> Test:
    if str(kind) == "LITERAL":
        return chr(what).__eq__
    if str(kind) == "RANGE":
        low, high = chr(what[0]), chr(what[1])
        return lambda c: low <= c <= high
    return _CATEGORIES[str(what)]


def _is_word(c: str) -> bool:
    return c.isascii() and (c.isalnum() or c == "_")


_CATEGORIES: Final[dict[str, Test]] = {
    "CATEGORY_DIGIT": lambda c: "0" <= c <= "9",
    "CATEGORY_NOT_DIGIT": lambda c: not "0" <= c <= "9",
    "CATEGORY_SPACE": lambda c: c in _SPACES,
    "CATEGORY_NOT_SPACE": lambda c: c not in _SPACES,
    "CATEGORY_WORD": _is_word,
    "CATEGORY_NOT_WORD": lambda c: not _is_word(c),
}


def _simulated(program: list[_Instruction], text: str) -> bool:
    current = _closure(program, [0], at_begin=True, at_end=not text)
    for i, character in enumerate(text):
        if not current:
            return False
        after = [
            at + 1
            for at in current
            if at < len(program) and isinstance(one := program[at], _Char) and one.test(character)
        ]
        current = _closure(program, after, at_begin=False, at_end=i + 1 == len(text))
    return len(program) in current


def _closure(
    program: list[_Instruction], begin: list[int], *, at_begin: bool, at_end: bool
) -> set[int]:
    """All instructions that are reached without a character."""
    seen: set[int] = set()
    waiting = list(begin)
    while waiting:
        at = waiting.pop()
        if at in seen:
            continue
        seen.add(at)
        one = program[at] if at < len(program) else None
        if isinstance(one, _Split):
            waiting += one.to
        elif isinstance(one, _Edge) and (at_end if one.is_end else at_begin):
            waiting.append(at + 1)
    return seen
