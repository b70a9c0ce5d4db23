"""What the documents say is true: help pages, rules and links."""

from __future__ import annotations

import re
import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest

from stoker.checks import RULES, check
from stoker.resources import load

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(
    [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *DOCS.rglob("*.md"),
        *(ROOT / "examples").rglob("*.md"),
    ]
)
_FENCE = re.compile(r"^(```|~~~).*?^\1\s*$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^(#{1,6})\s+(.+?)\s*$", re.MULTILINE)
_TOCTREE = re.compile(r"^```\{toctree\}\n(.*?)^```", re.MULTILINE | re.DOTALL)


def _page_id(page: Path) -> str:
    return str(page.relative_to(ROOT))


def _prose(page: Path) -> str:
    """The text of *page* without its code blocks."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def _headings(page: Path) -> set[str]:
    """The anchors of *page*, as GitHub and Sphinx make them."""
    titles = (title for _, title in _HEADING.findall(_prose(page)))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def _internal_links(page: Path) -> Iterator[str]:
    for target in _LINK.findall(_prose(page)):
        if not re.match(r"[a-z]+:", target):
            yield target


def _broken(page: Path) -> Iterator[str]:
    for link in _internal_links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists():
            yield f"{link}: no such file"
        elif anchor and anchor not in _headings(target):
            yield f"{link}: no such heading"


def test_command_line_page_is_what_help_prints_now():
    generate = runpy.run_path(str(DOCS / "generate.py"))
    written = generate["PAGE"].read_text(encoding="utf-8")
    assert written == generate["page"](), generate["HOW"]


def test_command_line_page_has_every_command_that_help_lists():
    generate = runpy.run_path(str(DOCS / "generate.py"))
    text = generate["PAGE"].read_text(encoding="utf-8")
    listed = re.findall(
        r"^  ([a-z]+)  +[A-Z]", text.partition("Commands:")[2].partition("```")[0], re.MULTILINE
    )
    assert len(listed) >= 14
    for name in listed:
        assert f"## stoker {name}\n\n```text\nUsage: stoker {name} " in text


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_rule_has_a_heading(rule):
    name = rule.__name__.replace("_", "-")
    page = DOCS / "reference" / "checks.md"
    assert name in _headings(page), f"describe `### {name}` in {_page_id(page)}"


def test_checks_page_describes_no_rule_that_is_gone():
    text = _prose(DOCS / "reference" / "checks.md")
    described = {title for level, title in _HEADING.findall(text) if level == "###"}
    assert described == {rule.__name__.replace("_", "-") for rule in RULES}


@pytest.mark.parametrize("page", PAGES, ids=_page_id)
def test_internal_links_resolve(page):
    assert list(_broken(page)) == []


def test_every_page_is_in_the_table_of_contents():
    trees = _TOCTREE.findall((DOCS / "index.md").read_text(encoding="utf-8"))
    entries = {line for tree in trees for line in tree.split() if not line.startswith(":")}
    pages = {str(page.relative_to(DOCS).with_suffix("")) for page in DOCS.rglob("*.md")}
    assert pages - {"index"} <= entries


def test_a_finding_carries_the_name_that_its_heading_has():
    published = ROOT / "examples" / "01-production-stack" / "as-published.yaml"
    found = {finding.rule for finding in check(load([str(published)]))}
    assert found
    assert found <= _headings(DOCS / "reference" / "checks.md")
