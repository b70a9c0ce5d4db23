"""GJSON's paths: the examples of its own documentation, and what has no answer."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.triggers.metricsapi.gjson import MISSING, get

# The document that GJSON's SYNTAX.md uses, MIT licence.
DOCUMENT = json.loads("""{
  "name": {"first": "Tom", "last": "Anderson"}, "age": 37,
  "children": ["Sara", "Alex", "Jack"], "fav.movie": "Deer Hunter",
  "friends": [
    {"first": "Dale", "last": "Murphy", "age": 44, "nets": ["ig", "fb", "tw"]},
    {"first": "Roger", "last": "Craig", "age": 68, "nets": ["fb", "tw"]},
    {"first": "Jane", "last": "Murphy", "age": 47, "nets": ["ig", "tw"]}]}""")


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("name.last", "Anderson"),
        ("name.first", "Tom"),
        ("age", 37),
        ("children.0", "Sara"),
        ("friends.1.first", "Roger"),
        ("child*.2", "Jack"),
        ("c?ildren.0", "Sara"),
        (r"fav\.movie", "Deer Hunter"),
        ("friends.#", 3),
        ("friends.#.age", [44, 68, 47]),
        ('friends.#(last=="Murphy").first', "Dale"),
        ('friends.#(last=="Murphy")#.first', ["Dale", "Jane"]),
        ("friends.#(age>45)#.last", ["Craig", "Murphy"]),
        ('friends.#(first%"D*").last', "Murphy"),
        ('friends.#(first!%"D*").last', "Craig"),
        ('friends.#(nets.#(=="fb"))#.first', ["Dale", "Roger"]),
        ('friends.#(last=="Murphy")#|0.first', "Dale"),
        ("friends.#(age>45)#|#", 2),
        ("friends|#", 3),
        ("friends.#(age<=44).age", 44),
        ("friends.#(nets).first", "Dale"),
        ('children.#(=="Alex")', "Alex"),
    ],
)
def test_finds_what_gjson_finds(path: str, found: Any) -> None:
    assert get(DOCUMENT, path) == found


@pytest.mark.parametrize(
    "path",
    ["nobody", "name.middle", "children.3", "age.x", 'friends.#(last=="x").first', "children.-1",
     "friends.#(age>)", "friends.#x", "friends.#(age>true).age"],
)  # fmt: skip
def test_finds_nothing_where_there_is_nothing(path: str) -> None:
    assert get(DOCUMENT, path) is MISSING


@pytest.mark.parametrize("path", ["@reverse", "{a,b}", "[a,b]", "!5"])
def test_says_what_it_does_not_know(path: str) -> None:
    with pytest.raises(ValueError, match="not supported"):
        get(DOCUMENT, path)


@given(st.text(max_size=30))
def test_no_path_breaks_it(path: str) -> None:
    with contextlib.suppress(ValueError):  # modifiers are refused
        get(DOCUMENT, path)


@given(st.dictionaries(st.text("ab.*?#\\|(", min_size=1, max_size=6), st.integers(), min_size=1))
def test_every_key_is_found_by_its_escaped_name(document: dict[str, int]) -> None:
    for key, value in document.items():
        escaped = "".join(f"\\{letter}" if letter in r".*?\|#(" else letter for letter in key)
        assert get(document, escaped) == value
