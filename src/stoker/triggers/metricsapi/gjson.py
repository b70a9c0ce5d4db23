r"""Paths into JSON as GJSON has them, which is what ``valueLocation`` is.

``a.b``, ``a.0``, ``a.#`` (how many), ``a.#.b`` (of each), ``a*`` and ``a?`` (the first key that
matches), ``a.#(b=="x").c`` (of the first that meets a condition) and ``#(...)#`` (of all),
``a|b``, and ``\`` before a character that is meant as such. Modifiers (``@reverse``), literals
and lists of paths are not known.

*Source*: https://github.com/tidwall/gjson/blob/master/SYNTAX.md
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final

MISSING: Final = object()  # the path leads nowhere

_SIGN = re.compile(r"==|!=|<=|>=|<|>|!%|%|=")


@dataclass(frozen=True, slots=True)
class _Part:
    text: str
    pattern: bool = False  # has a `*` or `?` that is not escaped
    piped: bool = False  # stands after `|`


def get(document: Any, path: str) -> Any:
    """What stands at *path*, :data:`MISSING` when nothing does.

    Raises:
        ValueError: the path uses what is not known here.
    """
    if path.startswith(("@", "!", "{", "[")):
        raise ValueError(f"modifiers, literals and lists of paths are not supported: {path}")
    return _walk(document, _parts(path))


def _parts(path: str) -> list[_Part]:
    parts: list[_Part] = []
    text, pattern, depth, piped, quoted = "", False, 0, False, False
    index = 0
    while index < len(path):
        letter = path[index]
        if letter == "\\" and index + 1 < len(path) and not depth:
            text += f"[{path[index + 1]}]" if path[index + 1] in "*?" else path[index + 1]
            pattern = pattern or path[index + 1] in "*?"
            index += 2
            continue
        if letter == '"' and depth:
            quoted = not quoted
        elif letter in "([" and not quoted:
            depth += 1
        elif letter in ")]" and not quoted:
            depth -= 1
        if letter in ".|" and not depth:
            parts.append(_Part(text, pattern, piped))
            text, pattern, piped = "", False, letter == "|"
        else:
            text += letter
            pattern = pattern or (letter in "*?" and not depth)
        index += 1
    parts.append(_Part(text, pattern, piped))
    return parts


def _walk(value: Any, parts: list[_Part]) -> Any:
    for index, part in enumerate(parts):
        rest = parts[index + 1 :]
        if part.text.startswith("#") and isinstance(value, list):
            return _in_list(value, part, rest)
        value = _step(value, part)
        if value is MISSING:
            return MISSING
    return value


def _step(value: Any, part: _Part) -> Any:
    if isinstance(value, dict):
        if part.pattern:
            return next(
                (found for key, found in value.items() if fnmatchcase(key, part.text)), MISSING
            )
        return value.get(part.text, MISSING)
    if isinstance(value, list) and part.text.isdecimal() and int(part.text) < len(value):
        return value[int(part.text)]
    return MISSING


def _in_list(items: list[Any], part: _Part, rest: list[_Part]) -> Any:
    """``#``, ``#.path``, ``#(condition)`` and ``#(condition)#``."""
    if part.text == "#":
        if not rest or rest[0].piped:
            return _walk(len(items), rest)
        return _each(items, rest)
    every = part.text.endswith("#")
    condition = part.text.removesuffix("#")[1:]
    if not (condition.startswith("(") and condition.endswith(")")):
        return MISSING
    chosen = [item for item in items if _meets(item, condition[1:-1].strip())]
    if every:
        return _walk(chosen, rest) if not rest or rest[0].piped else _each(chosen, rest)
    return _walk(chosen[0], rest) if chosen else MISSING


def _each(items: list[Any], rest: list[_Part]) -> list[Any]:
    found = [_walk(item, rest) for item in items]
    return [one for one in found if one is not MISSING]


def _meets(item: Any, condition: str) -> bool:
    path, sign, value = _split(condition)
    left = get(item, path) if path else item
    if not sign:
        return left is not MISSING and left != []
    if left is MISSING or isinstance(left, (dict, list)):
        return False
    return _holds(left, sign, value)


def _split(condition: str) -> tuple[str, str, str]:
    """Path, sign and value; the signs of conditions inside the path do not count."""
    depth = 0
    for index, letter in enumerate(condition):
        depth += (letter == "(") - (letter == ")")
        match = _SIGN.match(condition, index) if not depth else None
        if match is not None:
            return condition[:index].strip(), match[0], condition[match.end() :].strip()
    return condition.strip(), "", ""


def _holds(left: Any, sign: str, right: str) -> bool:
    """A scalar against what the condition says: a text, a word of JSON, or a number."""
    if right in _WORDS:
        same = left is _WORDS[right]
        return same if sign in ("=", "==") else sign == "!=" and not same
    quoted = len(right) > 1 and right.startswith('"') and right.endswith('"')
    if quoted or not _NUMBER.fullmatch(right):
        text = right[1:-1] if quoted else right
        if not isinstance(left, str):
            return False
        if sign in ("%", "!%"):
            return fnmatchcase(left, text) is (sign == "%")
        return bool(_COMPARE[sign](left, text))
    if isinstance(left, bool) or not isinstance(left, (int, float)) or sign in ("%", "!%"):
        return False
    return bool(_COMPARE[sign](float(left), float(right)))


_WORDS: Final[dict[str, bool | None]] = {"true": True, "false": False, "null": None}
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_COMPARE: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
