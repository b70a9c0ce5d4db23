"""What the tutorials really cost: writes `docs/reference/what-the-tutorials-cost.md`.

    python bench/tutorials.py TRACE...

Each example, as published and as corrected, on each trace, beside the fleet that knows the future.
"""

# ruff: noqa: E501 - the page has long lines

from __future__ import annotations

import sys
from pathlib import Path

from stoker.replay.job import Job, Traffic, execute, load_bundle
from stoker.replay.result import Judging
from stoker.replay.setup import Setup
from stoker.replay.slo import DEFAULT, Slo
from stoker.reports.sidebyside import replicas, seconds
from stoker.traces.reading import load, read

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "reference" / "what-the-tutorials-cost.md"
PRICE = 2.50
# title, files as published, files as corrected; None: published only in prose, or not wrong
EXAMPLES = (
    (
        "vLLM production-stack, KEDA tutorial",
        "examples/01-production-stack/as-published.yaml",
        "examples/01-production-stack/values.yaml",
    ),
    ("The same tutorial, scale to zero", None, "examples/02-scale-to-zero/values.yaml"),
    (
        "KServe, KEDA autoscaling with Prometheus",
        "examples/03-kserve/as-published.yaml",
        "examples/03-kserve/inference-service.yaml",
    ),
    (
        "KServe, KEDA autoscaling with OpenTelemetry",
        "examples/03-kserve/as-published-otel.yaml",
        "examples/03-kserve/inference-service-otel.yaml",
    ),
    (
        "KServe, a ScaledObject beside the InferenceService",
        None,
        "examples/04-kserve-scaled-object/inference-service.yaml,examples/04-kserve-scaled-object/scaled-object.yaml",
    ),
)
HEADS = "| file | replicas | GPU-h | cost | in SLO | TTFT p50 | TTFT p95 | E2E p95 | failed | scaled | looks with errors |"


def main() -> None:
    """Run and write."""
    traffic = [traffic_of(Path(name)) for name in sys.argv[1:]]
    lines = [*introduction(), ""]
    for title, published, corrected in EXAMPLES:
        lines += [f"## {title}", ""]
        for one in traffic:
            lines += [
                f"**{one.name}**, {len(one.arrivals):,} requests in {one.arrivals.duration / 60:.0f} min",
                "",
            ]
            lines += [HEADS, "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|"]
            for file, words in ((published, "as published"), (corrected, "corrected")):
                if file is not None:
                    last = file == corrected
                    lines += rows(file, words if published else "as in examples/", one, last=last)
            lines.append("")
    PAGE.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
    print(PAGE)


def introduction() -> list[str]:
    """What stands above the tables."""
    return [
        "# What the tutorials really cost",
        "",
        "Written by `python bench/tutorials.py TRACE...`; every line is one `stoker replay` with `--max-num-seqs 32`,",
        f"Llama-3.1-8B on one A100, a cold start of 80 s, and ${PRICE:.2f} for a GPU and an hour. Models of the files that are",
        "smaller than that are replayed as if they were this one: the page is about scaling, not about models. The promise is",
        f"`{DEFAULT}`. *clairvoyant* has, minute for minute, the smallest fleet that keeps it, or the one that",
        "comes nearest where none does.",
        "",
        "The Azure traces are of one service and one hour in November 2023 (CC-BY 4.0); the Mooncake trace is synthetic traffic of",
        "Kimi with the prefixes that its prompts share (Apache-2.0). No fleet keeps the promise on the latter: a prompt of 38,600",
        "tokens, one in ten is longer, takes 2.6 s by itself.",
    ]


def traffic_of(path: Path) -> Traffic:
    arrivals = load(read(path))
    return Traffic(path.name, arrivals.shifted(-float(arrivals.times[0])))


def rows(file: str, words: str, traffic: Traffic, *, last: bool) -> list[str]:
    """The run, and below the last one the fleet that knows the future."""
    paths = ",".join(str(ROOT / part) for part in file.split(","))
    setup = Setup(max_num_seqs=32, profile="llama-3.1-8b-a100")
    judging = Judging(Slo.parse(DEFAULT), PRICE, baselines=last)
    job = Job(paths, (), 0, setup, judging)
    load_bundle(job)  # what is wrong in it is told with its name
    found = execute(job, traffic)
    lines = [line(words, found[0])]
    lines += [line("*clairvoyant*", one) for one in found[1:] if one["kind"] == "bound"]
    return lines


def line(name: str, run) -> str:  # noqa: ANN001
    looks = f"{run['failed_looks']} of {run['polls'] + run['syncs']}" if "polls" in run else ""
    cells = [
        name,
        replicas(run),
        f"{run['gpu_seconds'] / 3600:.2f}",
        f"{run['cost']:.2f}",
        f"{run['slo_attainment']:.2%}",
        seconds(run["ttft"]["p50"]),
        seconds(run["ttft"]["p95"]),
        seconds(run["e2e"]["p95"]),
        f"{run['failed']:,}",
        str(run["scale_events"]),
        looks,
    ]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
