"""The expressions of ``scalingModifiers.formula``: a small part of the expr-lang language.

Numbers, names of triggers, arithmetic (``/`` is always a float division, ``%`` is for integers),
comparison, ``and or not``, ``? :``, ``??``, arrays, ``in``, and the functions below, the ones with
a predicate as ``count([a, b], {# > 1})`` too. There is no other code here that could run: the text
becomes a tree of the nodes in :mod:`.formula_nodes`, and the tree is walked.

Errors are InputErrors whose place is the column in the formula.

*Source*: the language definition of github.com/expr-lang/expr, which KEDA embeds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from stoker.scaling.formula_functions import FUNCTIONS, fail, to_float
from stoker.scaling.formula_nodes import (
    PREDICATE_FUNCTIONS,
    Array,
    Binary,
    Call,
    Conditional,
    Element,
    Index,
    Literal,
    Name,
    Node,
    Predicated,
    Unary,
    names_in,
)

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<number>0[xX][0-9a-fA-F]+ | (?:\d[\d_]*)?\.?\d[\d_]*(?:[eE][+-]?\d+)?)
    | (?P<name>[A-Za-z_$][A-Za-z0-9_$]*)
    | (?P<string>"[^"\\]*" | '[^'\\]*')
    | (?P<sign>\?\?|\?|:|\*\*|==|!=|<=|>=|&&|\|\||\.\.|[-+*/%^<>!()\[\]{},#])
    )""",
    re.VERBOSE,
)
# binary operators by strength; ?: is weaker than all of these
_STRENGTH = {
    "??": 1,
    "||": 2,
    "or": 2,
    "&&": 3,
    "and": 3,
    "==": 4,
    "!=": 4,
    "<": 4,
    "<=": 4,
    ">": 4,
    ">=": 4,
    "in": 4,
    "..": 5,
    "+": 6,
    "-": 6,
    "*": 7,
    "/": 7,
    "%": 7,
    "**": 8,
    "^": 8,
}
_CONSTANTS: dict[str, bool | None] = {"true": True, "false": False, "nil": None}
_DEEPEST = 100  # brackets within brackets


@dataclass(frozen=True, slots=True)
class Formula:
    """A formula that parses. ``names`` are the triggers that it speaks of."""

    text: str
    root: Node
    names: frozenset[str]

    @classmethod
    def parse(cls, text: str) -> Formula:
        """Read *text*.

        Raises:
            InputError: it is not a formula; the place is the column.
        """
        root = _Parser(text).parse()
        return cls(text, root, frozenset(name for name, _ in names_in(root)))

    def check(self, names: frozenset[str]) -> None:
        """Refuse names that are not among *names*, and formulas that are no numbers.

        Raises:
            InputError: the place is the column.
        """
        for name, column in names_in(self.root):
            if name not in names:
                known = ", ".join(sorted(names)) or "none has a name"
                raise fail(f"unknown name {name}", column, hint=f"named triggers: {known}")
        self.evaluate(dict.fromkeys(names, -1.0))

    def evaluate(self, variables: Mapping[str, float | None]) -> float | None:
        """The value; None: nil. *variables* are the values of the triggers, None where one failed.

        Raises:
            InputError: the formula cannot be computed; the place is the column.
        """
        value = self.root.value({**variables})
        return None if value is None else to_float(value, self.root.column)


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    column: int


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    at = 0
    end = len(text.rstrip())
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            at += len(text[at:]) - len(text[at:].lstrip())
            raise fail(f"unexpected character {text[at]!r}", at + 1)
        found.append(
            _Token(match.lastgroup, match[match.lastgroup], match.start(match.lastgroup) + 1)
        )
        at = match.end()
    found.append(_Token("end", "the end of the formula", end + 1))
    return found


class _Parser:
    """Precedence climbing over the tokens."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._at = 0
        self._depth = 0
        self._in_predicate = 0

    def parse(self) -> Node:
        node = self._expression()
        if self._now.kind != "end":
            raise fail(f"unexpected {self._now.text!r}", self._now.column)
        return node

    @property
    def _now(self) -> _Token:
        return self._tokens[self._at]

    def _take(self) -> _Token:
        token = self._now
        self._at += 1
        return token

    def _accept(self, *texts: str) -> _Token | None:
        return self._take() if self._now.text in texts and self._now.kind != "string" else None

    def _expect(self, text: str) -> _Token:
        token = self._accept(text)
        if token is None:
            raise fail(f"expected {text!r}, found {self._now.text!r}", self._now.column)
        return token

    def _expression(self) -> Node:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise fail("the formula is nested too deeply", self._now.column)
        node = self._binary(1)
        question = self._accept("?")
        if question is not None:
            if self._accept(":"):
                node = Conditional(question.column, node, node, self._expression())
            else:
                then = self._expression()
                self._expect(":")
                node = Conditional(question.column, node, then, self._expression())
        self._depth -= 1
        return node

    def _binary(self, weakest: int) -> Node:
        left = self._unary()
        while True:
            operator = self._now
            negated = operator.text == "not" and self._tokens[self._at + 1].text == "in"
            strength = 4 if negated else _STRENGTH.get(operator.text, 0)
            if strength < weakest or operator.kind == "string":
                return left
            self._take()
            if negated:
                self._take()
            # powers group to the right, all others to the left
            right = self._binary(strength if operator.text in ("**", "^") else strength + 1)
            left = Binary(operator.column, "in" if negated else operator.text, left, right)
            if negated:
                left = Unary(operator.column, "not", left)

    def _unary(self) -> Node:
        operator = self._accept("-", "+", "!", "not")
        if operator is None:
            return self._postfix()
        self._depth += 1
        if self._depth > _DEEPEST:
            raise fail("the formula is nested too deeply", operator.column)
        # a sign binds less than a power: -2 ** 2 is -4
        operand = self._binary(8) if operator.text in "+-" else self._unary()
        self._depth -= 1
        return Unary(operator.column, operator.text, operand)

    def _postfix(self) -> Node:
        node = self._primary()
        while (bracket := self._accept("[")) is not None:
            node = Index(bracket.column, node, self._expression())
            self._expect("]")
        return node

    def _primary(self) -> Node:
        token = self._take()
        if token.kind == "number":
            return Literal(token.column, _number(token))
        if token.kind == "string":
            return Literal(token.column, token.text[1:-1])
        if token.kind == "name":
            return self._named(token)
        if token.text == "(":
            node = self._expression()
            self._expect(")")
            return node
        if token.text == "[":
            return Array(token.column, self._list("]"))
        if token.text == "#" and self._in_predicate:
            return Element(token.column)
        raise fail(f"unexpected {token.text!r}", token.column)

    def _named(self, token: _Token) -> Node:
        if token.text in _CONSTANTS:
            return Literal(token.column, _CONSTANTS[token.text])
        if not self._accept("("):
            return Name(token.column, token.text)
        if token.text in PREDICATE_FUNCTIONS:
            return self._predicated(token)
        if token.text not in FUNCTIONS:
            known = ", ".join(sorted({*FUNCTIONS, *PREDICATE_FUNCTIONS}))
            hint = "write mean" if token.text in ("avg", "average") else f"functions: {known}"
            raise fail(f"unknown name {token.text}", token.column, hint=hint)
        return Call(token.column, token.text, self._list(")"))

    def _predicated(self, token: _Token) -> Node:
        over = self._expression()
        predicate: Node | None = None
        if self._accept(","):
            self._in_predicate += 1
            braced = self._accept("{")
            predicate = self._expression()
            if braced:
                self._expect("}")
            self._in_predicate -= 1
        self._expect(")")
        if predicate is None and token.text not in ("count", "sum"):
            raise fail(f"{token.text} needs a condition", token.column)
        return Predicated(token.column, token.text, over, predicate)

    def _list(self, closing: str) -> tuple[Node, ...]:
        items: list[Node] = []
        while not self._accept(closing):
            if items:
                self._expect(",")
            items.append(self._expression())
        return tuple(items)


def _number(token: _Token) -> int | float:
    text = token.text.replace("_", "")
    if text.lower().startswith("0x"):
        return int(text, 16)
    return int(text) if text.isdigit() else float(text)
