"""A replay as one HTML file: no other file, no network, readable in print and without colour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from stoker.reports import svg
from stoker.reports.replay_figures import best_of, decision_text, pareto, timeline, unit_of
from stoker.reports.sidebyside import details
from stoker.reports.style import PATTERNS, asset

Document = Mapping[str, Any]
Run = Mapping[str, Any]
_MOST_DECISIONS = 200


def page(document: Document) -> str:
    """The whole page. *document* is what ``stoker replay --output json`` prints.

    Its text comes from files of other people, and is escaped.
    """
    runs = document["runs"]
    own = [run for run in runs if run.get("kind", "file") == "file"]
    body = [
        _head(document, own),
        _cards(document, own[0]) if own else "",
        "<h2>Runs side by side</h2>",
        _table(document, runs),
        _pareto(document, runs),
        *(_run(document, run, is_open=number == 0) for number, run in enumerate(own)),
        _how(document),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(_title(own))}</title>"
        '<link rel="icon" href="data:,">'
        f"<style>{asset('figure.css')}{asset('report.css')}</style></head><body>"
        f'<svg width="0" height="0" style="position:absolute" aria-hidden="true">{PATTERNS}</svg>'
        + "".join(body)
        + '<div id="tip" role="tooltip"></div>'
        + f"<script>{asset('report.js')}</script></body></html>\n"
    )


def _title(own: Sequence[Run]) -> str:
    return f"Replay: {own[0]['name']}" if own else "Replay"


def _head(document: Document, own: Sequence[Run]) -> str:
    trace = document["trace"]
    slo = f" SLO: <code>{escape(document['slo'])}</code>." if document.get("slo") else ""
    return (
        f"<h1>{escape(_title(own))}</h1>"
        f'<p class="lead">{trace["requests"]:,} requests of {escape(str(trace["name"]))} in '
        f"{_span(trace['duration'])}, replayed in virtual time.{slo}</p>"
    )


def _cards(document: Document, run: Run) -> str:
    cards = [("GPU-hours", f"{run['gpu_seconds'] / 3600:,.2f}")]
    if document.get("price") is not None:
        cards.insert(0, ("cost", _money(document, run)))
    if run.get("slo_attainment") is not None:
        cards.append(("of requests within the SLO", f"{run['slo_attainment']:.2%}"))
    cards += [
        ("TTFT p50 / p95", f"{_seconds(run['ttft']['p50'])} / {_seconds(run['ttft']['p95'])}"),
        ("failed", f"{run['failed']:,}"),
        ("scale events", f"{run['scale_events']:,}"),
    ]
    inner = "".join(
        f'<div class="card"><b>{escape(value)}</b><span>{escape(name)}</span></div>'
        for name, value in cards
    )
    return f'<div class="cards">{inner}</div>'


def _table(document: Document, runs: Sequence[Run]) -> str:
    with_slo = any(run.get("slo_attainment") is not None for run in runs)
    with_price = document.get("price") is not None
    headings = ["run", *(["cost"] if with_price else []), "GPU-h"]
    headings += ["within SLO"] if with_slo else []
    headings += ["TTFT p50", "p95", "p99", "ITL p95", "E2E p95", "failed", "scale events", "max"]
    best = set(best_of(runs, unit_of(document)).values())
    rows = []
    for run in runs:
        cells = [escape(run["name"])]
        cells += [_money(document, run)] if with_price else []
        cells.append(f"{run['gpu_seconds'] / 3600:,.2f}")
        if with_slo:
            share = run.get("slo_attainment")
            cells.append("" if share is None else f"{share:.2%}")
        cells += [_seconds(run["ttft"][name]) for name in ("p50", "p95", "p99")]
        cells += [_seconds(run["itl"]["p95"]), _seconds(run["e2e"]["p95"])]
        most = max((row["ready"] for row in run["replicas"]), default=0)
        cells += [f"{run['failed']:,}", f"{run['scale_events']:,}", f"{most:,}"]
        classes = ["baseline"] if run.get("kind", "file") != "file" else []
        classes += ["best"] if run["name"] in best else []
        inner = "".join(f"<td>{cell}</td>" for cell in cells)
        rows.append(f'<tr class="{" ".join(classes)}">{inner}</tr>')
    star = "&#9733; no other run that one can choose is both cheaper and better"
    told = f'<p class="lead">{star}</p>' if best else ""
    heads = "".join(f"<th>{heading}</th>" for heading in headings)
    return (
        f'<div class="scroll"><table><thead><tr>{heads}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>{told}"
    )


def _pareto(document: Document, runs: Sequence[Run]) -> str:
    if sum(run.get("slo_attainment") is not None for run in runs) < 2:
        return ""
    figure = pareto(runs, unit=unit_of(document))
    return _figure(
        svg.draw(figure),
        "Up and to the left is better. Circles are files, squares static fleets, "
        "the diamond is a fleet that knows the future.",
    )


def _run(document: Document, run: Run, *, is_open: bool) -> str:
    figure = timeline(run, slo_ttft=document.get("slo_ttft"))
    caption = "Circles are decisions: point at one, or move to it with the Tab key, for its reason."
    decisions = run.get("decisions", ())
    shown = "".join(f"<li>{escape(decision_text(one))}</li>" for one in decisions[:_MOST_DECISIONS])
    more = len(decisions) - _MOST_DECISIONS
    left = f"<li>and {more:,} more, in the JSON</li>" if more > 0 else ""
    listed = (
        f"<details><summary>{len(decisions):,} decisions</summary><ol>{shown}{left}</ol></details>"
        if decisions
        else ""
    )
    told = f"<pre>{escape(details(run))}</pre>" if "starts" in run else ""
    attribute = " open" if is_open else ""
    return (
        f"<details{attribute}><summary><h2 style='display:inline'>{escape(run['name'])}</h2>"
        f"</summary>{_figure(svg.draw(figure), caption)}{told}{listed}</details>"
    )


def _figure(drawing: str, caption: str) -> str:
    return f"<figure>{drawing}<figcaption>{escape(caption)}</figcaption></figure>"


def _how(document: Document) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in document["versions"].items())
    notes = "".join(f"<li>{escape(note)}</li>" for note in document.get("notes", ()))
    return (
        "<h2>How this was made</h2>"
        f"<pre>{escape(document['command'])}</pre>"
        f"<p>Seed {escape(str(document['seed']))}. {escape(versions)}. The same command gives the "
        "same numbers.</p>" + (f"<ul>{notes}</ul>" if notes else "")
    )


def _money(document: Document, run: Run) -> str:
    return f"{document.get('currency', '')}{run['cost']:,.2f}"


def _seconds(value: float | None) -> str:
    """Three digits, with the unit that fits."""
    if value is None:
        return "-"
    if value < 0.9995:  # what three digits would round to 1000 ms is a second
        return f"{value * 1000:.3g} ms"
    return f"{value:.3g} s" if value < 999.5 else f"{value:,.0f} s"


def _span(seconds: float) -> str:
    for unit, size in (("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"
