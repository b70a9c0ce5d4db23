"""What the documents say is true: help pages, rules and links."""

from __future__ import annotations

import re
import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest

from stoker.checks import check, codes, pages
from stoker.checks.pages import SECTIONS, read_page
from stoker.resources import load

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
CHECKS = DOCS / "reference" / "checks.md"
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


def _entries(page: Path, folder: str) -> set[str]:
    """The pages that the tables of contents in *page* list."""
    trees = _TOCTREE.findall(page.read_text(encoding="utf-8"))
    return {folder + line for tree in trees for line in tree.split() if not line.startswith(":")}


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


def test_generated_pages_are_what_is_generated_now():
    generate = runpy.run_path(str(DOCS / "generate.py"))
    for path, text in generate["pages"]().items():
        assert path.read_text(encoding="utf-8") == text, generate["HOW"]


def test_command_line_page_has_every_command_that_help_lists():
    generate = runpy.run_path(str(DOCS / "generate.py"))
    text = generate["PAGE"].read_text(encoding="utf-8")
    listed = re.findall(
        r"^  ([a-z]+)  +[A-Z]", text.partition("Commands:")[2].partition("```")[0], re.MULTILINE
    )
    assert len(listed) >= 14
    for name in listed:
        assert f"## stoker {name}\n\n```text\nUsage: stoker {name} " in text


@pytest.mark.parametrize("code", codes())
def test_every_rule_has_a_page_with_all_its_sections(code):
    page = read_page(code)
    assert page.text.startswith(f"# {code}\n")
    assert page.severity in {"error", "warning", "info"}
    assert page.summary
    titles = [title for level, title in _HEADING.findall(_FENCE.sub("", page.text))]
    assert titles == [code, *SECTIONS]


def test_pages_describe_no_rule_that_is_gone():
    described = {path.stem for path in (DOCS / "reference" / "checks").glob("*.md")}
    assert described == set(codes())
    assert described == {path.stem for path in Path(pages.__file__).parent.glob("pages/*.md")}


@pytest.mark.parametrize("page", PAGES, ids=_page_id)
def test_internal_links_resolve(page):
    assert list(_broken(page)) == []


def test_every_page_is_in_the_table_of_contents():
    entries = {*_entries(DOCS / "index.md", ""), *_entries(CHECKS, "reference/")}
    pages = {str(page.relative_to(DOCS).with_suffix("")) for page in DOCS.rglob("*.md")}
    assert pages - {"index"} <= entries


def test_a_finding_carries_a_code_that_has_a_page():
    published = ROOT / "examples" / "01-production-stack" / "as-published.yaml"
    found = {finding.code for finding in check(load([str(published)]))}
    assert found
    assert found <= set(codes())
