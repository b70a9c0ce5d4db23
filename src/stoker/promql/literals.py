"""Literals as Prometheus reads them, where the grammar's library reads less or something else.

:func:`normalized` rewrites a query for the library: numbers with underscores, ``offset 0s``, times
before 1970, and escapes of single bytes, which are bytes of UTF-8 and not characters. What a Rust
string cannot hold (a byte that is no UTF-8, a negative time) passes through it in disguise;
:func:`undisguised` and :func:`undisguised_ms` take that off again.
"""

from __future__ import annotations

import re
import sys
from typing import Final

# A text without an end goes to the end, and quantifiers give nothing back: no query takes long.
_TOKEN = re.compile(
    r"""(?P<text>"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|'(?:[^'\\]|\\.)*+(?:'|\\?\Z)|`[^`]*+(?:`|\Z))
    |(?P<comment>\#[^\n]*+)
    |(?P<before_1970>@\s*+-\s*+(?P<moment>(?:\d++\.?+\d*+|\.\d++)(?:e\+?\d)?)(?![\w.]))
    |(?P<no_offset>\boffset\s++[-+]?(?:0++(?:ms|[smhdwy]))++(?!\w))
    |(?P<name>[A-Za-z_:][\w:.]*+)
    |(?P<number>(?<!\w)(?:0x[\da-f_]++|(?:[\d_]++\.?+[\d_]*+|\.[\d_]++)(?:e[-+]?[\d_]++)?+)(?!\w))
    """,
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)
_ESCAPE = re.compile(
    r"""\\(?:x([\da-fA-F]{2})|([0-7]{3})|u([\da-fA-F]{4})|U([\da-fA-F]{8})|([abfnrtv\\'"]))""",
    re.DOTALL,
)
_LETTERS: Final = {
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
    "\\": "\\",
    "'": "'",
    '"': '"',
}
_DISGUISE: Final = 0x10FF00 - 0xDC00  # lone bytes, kept as surrogates, wear a private character
_LONE = re.compile(r"[\udc80-\udcff]")
_DISGUISED = re.compile(r"[\U0010ff80-\U0010ffff]")
NEVER: Final = 90_000_000_000  # seconds; a time T before 1970 is shown to the library as NEVER - T


def normalized(query: str) -> str:
    """The query in the notation of the grammar's library; the same if it needs no change."""
    return _TOKEN.sub(_rewritten, query)


def with_placeholders(query: str, name: str) -> str:
    """The query with one more matcher in each selector that has no metric name before it."""
    inside = {at for found in _TOKEN.finditer(query) for at in range(found.start(), found.end())}
    parts = []
    before = ""  # the last character that is no space
    for at, character in enumerate(query):
        parts.append(character)
        named = before.isalnum() or before in {"_", ":"}
        if character == "{" and at not in inside and not named:
            parts.append(f'{name}!="",')
        before = before if character.isspace() else character
    return "".join(parts)


def _rewritten(found: re.Match[str]) -> str:
    token = found[0]
    match found.lastgroup:
        case "text" if "\\" in token and token[0] != "`":
            return _requoted(token)
        case "moment" | "before_1970":
            return f"@ {NEVER + float(found['moment']):.3f}"
        case "no_offset":
            return ""
        case "number" if "_" in token:
            return token.replace("_", "") if _is_grouped(token) else token
        case _:
            return token


def _is_grouped(number: str) -> bool:
    """Underscores only between digits, as Go has it (or after ``0x``)."""
    return not re.search(r"__|^_|_$|_[.eE]|[.eE]_", number) or number[:2] in {"0x", "0X"}


def _requoted(literal: str) -> str:
    """A literal whose bytes beyond ASCII are written as what they mean."""
    if not re.search(r"\\(?:x[89a-fA-F]|[23][0-7]{2})", literal):
        return literal
    try:
        text = unquote(literal)
    except ValueError:
        return literal  # the grammar says what is wrong
    text = _LONE.sub(lambda lone: chr(ord(lone[0]) + _DISGUISE), text)
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def unquote(literal: str) -> str:
    """What a quoted text means; a byte that is no UTF-8 is a lone surrogate, as in file names.

    Raises ValueError if it is not properly quoted.
    """
    quote = literal[:1]
    if len(literal) < 2 or quote not in {'"', "'", "`"} or literal[-1] != quote:
        raise ValueError(f"{literal} is not a quoted text")
    body = literal[1:-1]
    if quote == "`":
        return body
    parts: list[bytes] = []
    at = 0
    while at < len(body):
        backslash = body.find("\\", at)
        end = len(body) if backslash < 0 else backslash
        parts.append(body[at:end].encode("utf-8", "surrogateescape"))
        at = end
        if backslash >= 0:
            escape = _ESCAPE.match(body, backslash)
            if escape is None:
                raise ValueError(f"unknown escape `{body[backslash : backslash + 2]}`")
            parts.append(_unescaped(escape))
            at = escape.end()
    return b"".join(parts).decode("utf-8", "surrogateescape")


def _unescaped(escape: re.Match[str]) -> bytes:
    byte, octal, short, long, letter = escape.groups()
    if letter:
        return _LETTERS[letter].encode()
    if byte or octal:
        return bytes([int(byte, 16) if byte else int(octal, 8) & 0xFF])
    code = int(short or long, 16)
    if code > sys.maxunicode:
        raise ValueError(f"`{escape[0]}` is no character")
    return chr(code).encode("utf-8", "surrogatepass")


def undisguised(text: str) -> str:
    """A text of the library's tree, with lone bytes as surrogates."""
    return _DISGUISED.sub(lambda one: chr(ord(one[0]) - _DISGUISE), text)


def escaped_bytes(text: str) -> str:
    """A printed tree, with lone bytes as the escapes that they were."""
    return _DISGUISED.sub(lambda one: f"\\x{ord(one[0]) - 0x10FF00:02x}", text)


def undisguised_ms(t_ms: int) -> int:
    """A time of the library's tree, in ms."""
    return t_ms if t_ms < NEVER * 1000 else NEVER * 1000 - t_ms


def is_utf8(text: str) -> bool:
    """Whether a text has no lone bytes: names of labels must not."""
    return _LONE.search(text) is None


def printable(text: str) -> str:
    """The text for output: lone bytes are replaced."""
    return (
        text if is_utf8(text) else text.encode("utf-8", "surrogateescape").decode(errors="replace")
    )
