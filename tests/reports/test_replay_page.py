"""The report in a real browser: no errors, no network, tool tips, dark, and in print."""

from __future__ import annotations

import pytest

from stoker.reports import replay_page


def test_text_of_others_is_never_markup(replay_document):
    text = replay_page.page(replay_document())
    assert "<script>alert" not in text
    assert text.count("<script>") == 1


def test_a_page_has_no_other_file(replay_document):
    text = replay_page.page(replay_document())
    assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in text
    assert "src=" not in text


def test_without_a_price_and_an_slo_there_are_no_such_columns(replay_document, replay_run):
    runs = [replay_run("a", share=None)]
    text = replay_page.page(replay_document(price=None, slo=None, slo_ttft=None, runs=runs))
    assert "<th>cost</th>" not in text
    assert "<th>within SLO</th>" not in text
    assert "SLO attainment" not in text


@pytest.mark.e2e
@pytest.mark.needs("chromium")
def test_the_page_works_in_a_browser(browser, tmp_path, replay_document, hostile):
    path = tmp_path / "report.html"
    path.write_text(replay_page.page(replay_document()), encoding="utf-8")
    page = browser.new_page(viewport={"width": 1100, "height": 900}, color_scheme="dark")
    problems, requested = [], []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: requested.append(request.url))
    page.goto(path.as_uri())

    assert page.title() == "Replay: values.yaml"
    mark = page.locator("details[open] g.mark").first
    mark.scroll_into_view_if_needed()
    mark.hover()
    tip = page.locator("#tip")
    assert tip.is_visible()
    assert hostile in tip.inner_text()
    page.mouse.move(5, 5)
    assert not tip.is_visible()
    mark.focus()
    assert tip.is_visible()  # the keyboard shows it, too

    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.emulate_media(media="print", color_scheme="light")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != dark
    assert not tip.is_visible()

    wide = page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert wide
    assert len(page.screenshot(full_page=True)) > 20_000
    assert problems == []
    assert [url for url in requested if not url.startswith(("file:", "data:"))] == []


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.9994, "999 ms"),
        (0.9996, "1 s"),
        (1.0, "1 s"),
        (999.4, "999 s"),
        (999.6, "1,000 s"),
        (None, "-"),
    ],
)
def test_three_digits_never_round_up_to_an_exponent(replay_document, replay_run, seconds, text):
    run = replay_run("a")
    run["itl"]["p95"] = seconds
    assert f">{text}</td>" in replay_page.page(replay_document(runs=[run]))
