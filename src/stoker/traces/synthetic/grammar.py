"""The little language of synthetic traffic: calls with named arguments, ``+`` and ``*``.

::

    sum     = product { "+" product }
    product = factor { "*" factor }
    factor  = NUMBER | NAME "(" [ argument { "," argument } ] ")" | "(" sum ")"
    argument = [ NAME "=" ] ( NUMBER | DURATION | "'" text "'" )

Numbers may have an exponent, durations are ``500ms``, ``30s``, ``1h30m``, ``14d``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from stoker.errors import InputError

_TOKEN = re.compile(
    r"\s*(?:(?P<quoted>'[^']*'|\"[^\"]*\")"
    r"|(?P<duration>(?:\d+(?:\.\d+)?(?:ms|[smhd]))+(?![\w.]))"
    r"|(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.]))"
    r"|(?P<name>[A-Za-z_][\w-]*)"
    r"|(?P<sign>[-+*(),=]))"
)
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhd])")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True, slots=True)
class Number:
    """A plain number."""

    value: float
    at: int  # characters from the beginning of the text


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a call; *name* is empty if it has none."""

    name: str
    value: float | str
    at: int


@dataclass(frozen=True, slots=True)
class Call:
    """``name(arguments)``."""

    name: str
    arguments: tuple[Argument, ...]
    at: int


@dataclass(frozen=True, slots=True)
class Combined:
    """Two sides of ``+`` or ``*``."""

    sign: str
    left: Node
    right: Node
    at: int


Node = Number | Call | Combined


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    at: int


def problem(text: str, at: int, message: str, hint: str | None = None) -> InputError:
    """An error that shows the place: ``column 12: ...`` with the text and a caret under it."""
    return InputError(f"column {at + 1}: {message}\n  {text}\n  {' ' * at}^", hint=hint)


def parse(text: str) -> Node:
    """The tree of an expression.

    Raises:
        InputError: it is not one; the message has the column.
    """
    return _Parser(text).whole()


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = _tokens(text)
        self._next = 0

    def whole(self) -> Node:
        node = self._sum()
        if (token := self._peek()).kind != "end":
            raise problem(self._text, token.at, f"`{token.text}` was not expected here")
        return node

    def _sum(self) -> Node:
        node = self._product()
        while self._peek().text == "+":
            token = self._take()
            node = Combined("+", node, self._product(), token.at)
        return node

    def _product(self) -> Node:
        node = self._factor()
        while self._peek().text == "*":
            token = self._take()
            node = Combined("*", node, self._factor(), token.at)
        return node

    def _factor(self) -> Node:
        token = self._take()
        if token.kind == "number":
            return Number(float(token.text), token.at)
        if token.text == "(":
            node = self._sum()
            self._expect(")")
            return node
        if token.kind == "name":
            self._expect("(")
            return Call(token.text, self._arguments(), token.at)
        told = "the text ends" if token.kind == "end" else f"`{token.text}` was found"
        raise problem(self._text, token.at, f"{told} where a rate should be, as poisson(rate=5)")

    def _arguments(self) -> tuple[Argument, ...]:
        arguments: list[Argument] = []
        if self._peek().text == ")":
            self._take()
            return ()
        while True:
            arguments.append(self._argument())
            token = self._take()
            if token.text == ")":
                return tuple(arguments)
            if token.text != ",":
                raise problem(self._text, token.at, "`,` or `)` should be here")

    def _argument(self) -> Argument:
        token = self._take()
        name, at = "", token.at
        if token.kind == "name" and self._peek().text == "=":
            self._take()
            name, token = token.text, self._take()
        if token.text == "-" and self._peek().kind == "number":
            number = self._take()
            return Argument(name, -float(number.text), at)
        if token.kind == "number":
            return Argument(name, float(token.text), at)
        if token.kind == "duration":
            return Argument(name, seconds(token.text), at)
        if token.kind == "quoted":
            return Argument(name, token.text[1:-1], at)
        if token.kind == "name":
            return Argument(name, token.text, at)
        raise problem(self._text, token.at, "a number, a duration or 'text' should be here")

    def _peek(self) -> _Token:
        return self._tokens[self._next]

    def _take(self) -> _Token:
        token = self._tokens[self._next]
        self._next = min(self._next + 1, len(self._tokens) - 1)
        return token

    def _expect(self, sign: str) -> None:
        token = self._take()
        if token.text != sign:
            raise problem(self._text, token.at, f"`{sign}` should be here")


def _tokens(text: str) -> list[_Token]:
    tokens, at = [], 0
    while at < len(text.rstrip()):
        found = _TOKEN.match(text, at)
        if found is None or found.lastgroup is None:
            start = at + len(text[at:]) - len(text[at:].lstrip())
            raise problem(text, start, f"`{text[start]}` was not understood")
        tokens.append(
            _Token(found.lastgroup, found.group(found.lastgroup), found.start(found.lastgroup))
        )
        at = found.end()
    tokens.append(_Token("end", "", len(text.rstrip())))
    if len(tokens) > 1000:
        raise InputError("more than a thousand words of synthetic traffic")
    return tokens


def seconds(text: str) -> float:
    """``1h30m`` in seconds."""
    return sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(text))
