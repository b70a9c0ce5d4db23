"""The page of a replay that was run, in a real browser: what was decided can be read there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.e2e.conftest import stoker

EXAMPLES = Path(__file__).parents[2] / "examples" / "01-production-stack"

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.needs("chromium"),
    pytest.mark.timeout(300),  # replay may have to wait for the compiler
]


@pytest.fixture(scope="module")
def replayed(tmp_path_factory):
    """Twenty minutes of bursts with two files: the page, and what it is made of."""
    path = tmp_path_factory.mktemp("replay") / "report.html"
    command = stoker(
        "replay", str(EXAMPLES / "values.yaml"), str(EXAMPLES / "as-published.yaml"),
        "--synthetic=onoff(rate=12,on=2m,off=8m)", "--duration=20m", "--max-num-seqs=16",
        "--startup=20s", "--price=2.5", "--output=json", f"--report={path}", limit=250,
    )  # fmt: skip
    assert command.returncode == 0, command.stderr
    return path, json.loads(command.stdout)


@pytest.fixture
def shown(browser, replayed):
    """The page with everything unfolded, and what went wrong in it."""
    path, document = replayed
    page = browser.new_page(viewport={"width": 1100, "height": 900})
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(path.as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true })")
    return page, document, problems


def decisions(document):
    return [one for run in document["runs"] for one in run.get("decisions", ())]


def test_every_reason_of_a_decision_can_be_read(shown):
    page, document, problems = shown
    reasons = [one["reason"] for one in decisions(document)]
    assert len(reasons) >= 4, "it scales up and down"
    text = " ".join(page.locator("body").inner_text().split())
    for reason in reasons:
        assert reason in text
    assert problems == []


def test_what_became_of_starts_and_promises_is_told_of_each_file(shown):
    page, document, problems = shown
    told = page.locator("details pre").all_inner_texts()
    files = [run for run in document["runs"] if run["kind"] == "file"]
    assert len(told) == len(files)
    for run, text in zip(files, told, strict=True):
        assert f"starts      {run['starts']['count']}" in text
        assert "slo         ttft_p95<2s:" in text
    assert problems == []


def test_every_decision_has_its_mark_with_its_reason(shown):
    page, document, problems = shown
    tip = page.locator("#tip")
    told = []
    for mark in page.locator("details g.mark").all():
        mark.scroll_into_view_if_needed()
        mark.hover()
        assert tip.is_visible()
        told.append(" ".join(tip.inner_text().split()))
    assert len(told) == len(decisions(document))
    for one, tip_text in zip(decisions(document), told, strict=True):
        assert one["reason"] in tip_text
    assert problems == []


def test_all_runs_stand_in_the_table_with_their_cost(shown):
    page, document, _ = shown
    rows = page.locator("table").first.locator("tbody tr").all_inner_texts()
    assert len(rows) == len(document["runs"])
    for run, text in zip(document["runs"], rows, strict=True):
        assert run["name"] in text
        assert f"{run['cost']:,.2f}" in text
