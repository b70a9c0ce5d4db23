"""Label selectors as ``kubectl -l`` and ``podSelector`` have them. Pure.

*Source*: ``k8s.io/apimachinery/pkg/labels``: requirements are separated by commas, and all must be
met.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_TOKEN = re.compile(r"\s*(?:(?P<word>[^\s,()=!<>]+)|(?P<sign>==|!=|[=!,()<>]))")
_NAME = re.compile(r"([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition. *operator* is exists, !, in, notin, > or <."""

    key: str
    operator: str
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether *labels* meet it. A label that is not there is not in any set."""
        found = labels.get(self.key)
        match self.operator:
            case "exists":
                return found is not None
            case "!":
                return found is None
            case "in":
                return found in self.values
            case "notin":
                return found not in self.values
        (limit,) = self.values
        if found is None or not re.fullmatch(r"[+-]?\d+", found):
            return False
        return int(found) > int(limit) if self.operator == ">" else int(found) < int(limit)


@dataclass(frozen=True, slots=True)
class Selector:
    """All of several requirements."""

    requirements: tuple[Requirement, ...]

    @classmethod
    def parse(cls, text: str) -> Selector:
        """Read ``app=a,tier in (b,c),!d``.

        Raises:
            ValueError: in the words of Kubernetes.
        """
        return cls(tuple(_Parser(text).requirements()))

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether all requirements are met."""
        return all(one.matches(labels) for one in self.requirements)


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens: list[str] = []
        at, text = 0, text.rstrip()
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None:  # pragma: no cover - every character is a word or a sign
                raise ValueError(f"unable to parse requirement: found '{text[at]}'")
            self._tokens.append(match["word"] or match["sign"])
            at = match.end()

    def requirements(self) -> list[Requirement]:
        """All of them."""
        found: list[Requirement] = []
        while self._tokens:
            found.append(self._requirement())
            if not self._tokens:
                break
            comma = self._take()
            if comma != ",":
                raise _wrong(comma, "',' or 'end of string'")
            if not self._tokens:
                raise _wrong("", "identifier after ','")
        return found

    def _take(self) -> str:
        return self._tokens.pop(0) if self._tokens else ""

    def _requirement(self) -> Requirement:
        if self._tokens[0] == "!":
            self._take()
            return Requirement(self._key(), "!")
        key = self._key()
        sign = self._tokens[0] if self._tokens else ","
        if sign == ",":
            return Requirement(key, "exists")
        self._take()
        if sign in ("in", "notin"):
            return Requirement(key, sign, self._set())
        if sign in ("=", "==", "!=", ">", "<"):
            operator = {"=": "in", "==": "in", "!=": "notin"}.get(sign, sign)
            return Requirement(key, operator, frozenset([self._value(operator)]))
        raise _wrong(sign, "in, notin, =, ==, !=, gt, lt")

    def _key(self) -> str:
        key = self._take()
        if not re.match(r"[^,()=!<>]", key):
            raise _wrong(key, "identifier")
        if not _NAME.fullmatch(key):
            raise ValueError(f'unable to parse requirement: <nil>: Invalid value: "{key}"')
        return key

    def _value(self, operator: str) -> str:
        value = "" if not self._tokens or self._tokens[0] == "," else self._take()
        if value and not re.match(r"[^,()=!<>]", value):
            raise _wrong(value, "identifier")
        if operator in (">", "<") and not re.fullmatch(r"[+-]?\d+", value):
            raise ValueError(
                f'unable to parse requirement: values[0]: Invalid value: "{value}": '
                "for 'Gt', 'Lt' operators, the value must be an integer"
            )
        return value

    def _set(self) -> frozenset[str]:
        if (bracket := self._take()) != "(":
            raise _wrong(bracket, "'('")
        values: set[str] = set()
        while (word := self._take()) != ")":
            if word == ",":
                continue
            if not re.match(r"[^,()=!<>]", word):
                raise _wrong(word, "',', ')' or identifier")
            values.add(word)
        return frozenset(values or {""})


def _wrong(found: str, expected: str) -> ValueError:
    return ValueError(f"unable to parse requirement: found '{found}', expected: {expected}")
