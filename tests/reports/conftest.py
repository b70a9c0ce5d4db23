"""A replay's JSON document, invented, and a browser to look at what is drawn from it."""

from __future__ import annotations

import shutil
from typing import Any

import pytest

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
HOSTILE = "<script>alert('x')</script> & \"quotes\""


def run(
    name: str, kind: str = "file", *, cost: float = 7.0, share: float | None = 0.97
) -> dict[str, Any]:
    time = [15.0 * at for at in range(240)]
    return {
        "name": name,
        "kind": kind,
        "file": "values.yaml",
        "requests": 19_366,
        "failed": 2,
        "duration": 3600.0,
        "gpu_seconds": cost * 1440,
        "replica_seconds": cost * 1440,
        "cost": cost,
        "slo_attainment": share,
        "ttft": {"p50": 0.4, "p95": 1.7, "p99": 4.0},
        "itl": {"p50": 0.02, "p95": 0.05, "p99": 0.1},
        "e2e": {"p50": 3.0, "p95": 9.0, "p99": 12.0},
        "scale_events": 2,
        "replicas": [
            {"time": 0.0, "wanted": 1, "ready": 1},
            {"time": 600.0, "wanted": 4, "ready": 1},
            {"time": 690.0, "wanted": 4, "ready": 4},
            {"time": 2400.0, "wanted": 2, "ready": 2},
        ],
        "decisions": [
            {"time": 600.0, "from": 1, "to": 4, "reason": f"s0-prometheus 20, target 5 {HOSTILE}"},
            {"time": 2400.0, "from": 4, "to": 2, "reason": "All metrics below target"},
        ],
        "series": {
            "time": time,
            "arrival_rate": [5.0 + at % 7 for at in range(240)],
            "waiting": [float(at % 11) for at in range(240)],
            "held": [3.0 if at < 8 else 0.0 for at in range(240)],
            "ttft": {
                "p50": [None if 100 <= at < 110 else 0.4 for at in range(240)],
                "p95": [None if 100 <= at < 110 else 1.5 for at in range(240)],
                "p99": [None if 100 <= at < 110 else 2.5 for at in range(240)],
            },
        },
    }


def document(**changed) -> dict[str, Any]:
    return {
        "command": f"stoker replay values.yaml --trace '{HOSTILE}.csv'",
        "seed": 0,
        "versions": {"stoker": "0.1.0", "python": "3.11"},
        "slo": "ttft_p95<2s",
        "slo_ttft": 2.0,
        "price": 2.5,
        "currency": "$",
        "trace": {"name": "conv.csv", "requests": 19_366, "duration": 3502.0},
        "notes": ["the trace is shorter than the stabilization window"],
        "runs": [
            run("values.yaml"),
            run(HOSTILE, cost=9.0, share=0.995),
            run("static at peak", "baseline", cost=11.0, share=0.999),
            run("static at mean", "baseline", cost=9.5, share=0.91),
            run("clairvoyant", "bound", cost=5.0, share=0.999),
        ],
        **changed,
    }


@pytest.fixture
def replay_run():
    """Makes a run of a name, a kind, a cost and a share within the SLO."""
    return run


@pytest.fixture
def replay_document():
    """Makes a document, with some fields changed."""
    return document


@pytest.fixture
def hostile():
    """A text that is markup to a page that does not escape."""
    return HOSTILE


@pytest.fixture
def browser():
    """Chromium, without a window."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - only here

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=FLAGS, headless=True
        )
        yield chromium
        chromium.close()
