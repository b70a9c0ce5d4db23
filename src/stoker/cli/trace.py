"""``stoker trace``: look at recorded traffic, and make other traffic of it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stoker.cli.params import DURATION
from stoker.cli.traffic import (
    Told,
    duration_option,
    length_options,
    read,
    reading_options,
    say,
    synthetic,
)
from stoker.errors import InputError

if TYPE_CHECKING:  # NumPy is not needed to print a help page
    from stoker.traces.arrivals import Arrivals

_PATH = click.Path(path_type=Path)
_POSITIVE = click.FloatRange(min=0, min_open=True)


@click.group()
def trace() -> None:
    """Look at recorded traffic, and make other traffic of it.

    Formats are known by their first lines: Azure LLM inference CSV, BurstGPT CSV, Mooncake JSON
    lines, ServeGen client profiles (a folder) and samples, results of vllm bench serve, GuideLLM
    and aiperf, and Stoker's own JSON lines and Parquet. OUT is written as .jsonl, .jsonl.gz or
    .parquet.
    """


@trace.command()
@click.argument("files", nargs=-1, required=True, type=_PATH, metavar="FILE...")
@reading_options
@click.option(
    "-o",
    "--output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Format of the figures.",
)
def describe(files: tuple[Path, ...], output: str, trace_format: str, skip_bad_rows: bool) -> None:
    """Print rate over time, burstiness, and percentiles of lengths."""
    from stoker.traces.statistics import Description  # noqa: PLC0415
    from stoker.ui import traces  # noqa: PLC0415

    found = []
    for number, path in enumerate(files):
        chunks = read(path, trace_format=trace_format, skip_bad_rows=skip_bad_rows)
        description = Description.of(chunks)
        if output == "json":
            format_name = chunks.reader.format.name
            found.append({"file": str(path), "format": format_name} | traces.described(description))
        else:
            print(
                "\n" * bool(number) + traces.text(description, str(path), chunks.reader.format.name)
            )
    if output == "json":
        print(json.dumps(found, indent=2))


@trace.command()
@click.argument("file", type=_PATH)
@click.argument("out", type=_PATH)
@click.option("--start", type=DURATION, default=0.0, metavar="D", help="Leave out the first D.")
@duration_option
@click.option("--num-requests", type=click.IntRange(min=1), metavar="N", help="At most N requests.")
@reading_options
def cut(
    file: Path,
    out: Path,
    start: float,
    duration: float | None,
    num_requests: int | None,
    trace_format: str,
    skip_bad_rows: bool,
) -> None:
    """Write a part of FILE to OUT. The beginning of the part becomes 0 s."""
    from stoker.traces import transform  # noqa: PLC0415

    source = read(file, trace_format=trace_format, skip_bad_rows=skip_bad_rows)
    chunks: Iterable[Arrivals] = transform.cut(source, start=start, duration=duration)
    if num_requests is not None:
        chunks = transform.first(chunks, num_requests)
    end = "the end" if duration is None else f"{start + duration:g} s"
    _write(chunks, out, [f"{start:g} s to {end} of {file}, which begins at 0 s now"])


@trace.command()
@click.argument("file", type=_PATH)
@click.argument("out", type=_PATH)
@click.option("--time", type=_POSITIVE, metavar="X", help="Put requests X times as far apart.")
@click.option("--rate", type=_POSITIVE, metavar="X", help="X times as many requests.")
@click.option(
    "--jitter",
    type=DURATION,
    default=1.0,
    show_default=True,
    metavar="D",
    help="With --rate above 1: copies come up to D after their original.",
)
@click.option("--prompt-tokens", type=_POSITIVE, metavar="X", help="Prompts X times as long.")
@click.option("--output-tokens", type=_POSITIVE, metavar="X", help="Answers X times as long.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of --rate's choice.")
@reading_options
def scale(
    file: Path,
    out: Path,
    *,
    time: float | None,
    rate: float | None,
    jitter: float,
    prompt_tokens: float | None,
    output_tokens: float | None,
    seed: int,
    trace_format: str,
    skip_bad_rows: bool,
) -> None:
    """Write FILE with other times, rates or lengths to OUT, and say what was done."""
    from stoker.traces import transform  # noqa: PLC0415

    if not (time or rate or prompt_tokens or output_tokens):
        raise InputError(
            "nothing to scale", hint="give --time, --rate, --prompt-tokens or --output-tokens"
        )
    chunks: Iterable[Arrivals]
    chunks = read(file, trace_format=trace_format, skip_bad_rows=skip_bad_rows)
    done = []
    if rate is not None:
        chunks = transform.rated(chunks, rate, jitter=jitter, seed=seed)
        done.append(_rate_told(rate, jitter, seed))
    if time is not None:
        chunks = transform.stretched(chunks, time)
        done.append(
            f"times x {time:g}: the rate is divided by {time:g}, gaps within bursts are stretched"
        )
    if prompt_tokens or output_tokens:
        chunks = transform.resized(
            chunks, prompt_factor=prompt_tokens or 1.0, output_factor=output_tokens or 1.0
        )
    if prompt_tokens:
        done.append(f"prompt tokens x {prompt_tokens:g}, rounded; blocks of prompts are left out")
    if output_tokens:
        done.append(f"output tokens x {output_tokens:g}, rounded")
    _write(chunks, out, done)


def _rate_told(rate: float, jitter: float, seed: int) -> str:
    if rate < 1:
        return f"each request kept with probability {rate:g} (seed {seed})"
    return (
        f"each request sent {rate:g} times on average, copies up to {jitter:g} s later "
        f"(seed {seed}): the same users sending more, not more users"
    )


@trace.command()
@click.argument("files", nargs=-1, required=True, type=_PATH, metavar="FILE FILE... OUT")
@reading_options
def merge(files: tuple[Path, ...], trace_format: str, skip_bad_rows: bool) -> None:
    """Write the requests of all FILEs, in the order of their times, to the last file named."""
    from stoker.traces import transform  # noqa: PLC0415

    *sources, out = files
    if len(sources) < 2:
        raise InputError(
            "merging needs two traces and a file to write",
            hint="stoker trace merge a.csv b.csv both.jsonl",
        )
    traces: list[Iterable[Arrivals]] = [
        read(path, trace_format=trace_format, skip_bad_rows=skip_bad_rows) for path in sources
    ]
    done = f"{len(sources)} traces, each with its own 0 s, in the order of time"
    _write(transform.merged(traces), out, [done])


@trace.command()
@click.argument("file", type=_PATH)
@click.argument("out", type=_PATH)
@reading_options
def plot(file: Path, out: Path, trace_format: str, skip_bad_rows: bool) -> None:
    """Draw rate over time and the distribution of lengths into OUT.png or OUT.svg."""
    from stoker.reports import trace_plot  # noqa: PLC0415
    from stoker.reports.plot import check_plot_file  # noqa: PLC0415
    from stoker.traces.statistics import Description  # noqa: PLC0415

    check_plot_file(out)
    chunks = read(file, trace_format=trace_format, skip_bad_rows=skip_bad_rows)
    trace_plot.plot(Description.of(chunks), out, file.name)
    say(f"wrote {out}")


@trace.command()
@click.argument("expression", metavar="EXPR")
@click.argument("out", type=_PATH)
@duration_option
@length_options
@click.option("--seed", type=int, default=0, show_default=True, help="Another seed, other times.")
def generate(
    expression: str,
    out: Path,
    duration: float | None,
    prompt_tokens: str | None,
    output_tokens: str | None,
    lengths_from: Path | None,
    seed: int,
) -> None:
    """Write synthetic traffic to OUT.

    \b
    EXPR is a rate over time in requests a second: terms are added and multiplied.
      poisson(rate)  even(rate)  gamma(rate, cv)
      diurnal(base, peak, period=24h, start=0)
      step(before, after, at)   ramp(start, end, over, at=0)
      onoff(rate=1, on=10m, off=10m)
      bursts(rate=10, every=10m, length=30s, seed=0)
      rates('FILE.csv')         a file with t_seconds,rate_rps

    \b
    stoker trace generate 'diurnal(2, 16, 1h) + bursts(rate=20)' day.jsonl --duration 24h
    """  # noqa: D301 - click wants the backspace character itself
    chunks = synthetic(
        expression,
        duration=duration,
        seed=seed,
        prompt_tokens=prompt_tokens,
        output_tokens=output_tokens,
        lengths_from=lengths_from,
    )
    _write(chunks, out, [f"{expression} for {duration:g} s (seed {seed})"])


def _write(chunks: Iterable[Arrivals] | Told, out: Path, done: list[str]) -> None:
    from stoker.traces.writing import write  # noqa: PLC0415

    count = write(chunks, out)
    for line in done:
        say(line)
    if not count:
        say("warning: no request is left")
    say(f"wrote {count:,} requests to {out}")
