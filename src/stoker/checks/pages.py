"""The page of each rule: what happens, why, the evidence, and the fix.

A page is a Markdown file of the name of its code. The documentation and ``stoker check --explain``
show the same text.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files

SECTIONS = ("What happens", "Why", "Evidence", "Fix")


@dataclass(frozen=True, slots=True)
class Page:
    """A rule at length."""

    code: str
    severity: str  # the usual one: error, warning, info
    summary: str  # one sentence
    text: str  # the whole page, Markdown


def read_page(code: str) -> Page:
    """The page of *code*, which must be a known one."""
    text = (files("stoker.checks") / "pages" / f"{code}.md").read_text(encoding="utf-8")
    # the first paragraph: *error.* One sentence.
    first = text.split("\n\n")[1].replace("\n", " ")
    severity, _, summary = first.removeprefix("*").partition(".* ")
    return Page(code, severity, summary.removesuffix("."), text)
