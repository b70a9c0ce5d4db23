"""``stoker load``: send OpenAI traffic, and say how it was answered."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stoker.cli.traffic import read, reading_options, synthetic
from stoker.errors import InputError

if TYPE_CHECKING:  # asyncio servers and rich are not needed to print a help page
    from stoker.load.arrivals import Arrival
    from stoker.load.report import LoadReport
    from stoker.load.runner import Plan, Progress
    from stoker.traces.arrivals import Arrivals

_DEFAULT_REQUESTS = 100  # as the load generator of the production-stack tutorials
_POSITIVE = click.FloatRange(min=0, min_open=True)


@click.command()
@click.argument("url", default="http://localhost:8000")
@click.option(
    "--rate",
    type=_POSITIVE,
    metavar="R",
    help="Send R requests a second on average, at random times (Poisson process).",
)
@click.option(
    "--trace",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Send a recorded trace: its times, its lengths. All formats of `stoker trace`.",
)
@reading_options
@click.option(
    "--synthetic",
    metavar="EXPR",
    help="Send invented traffic, as `diurnal(base=2,peak=16,period=1h)`; see `stoker trace`.",
)
@click.option(
    "--concurrency",
    type=click.IntRange(min=1),
    metavar="N",
    help="Keep N requests open: each user sends the next when the last is answered.",
)
@click.option(
    "--duration",
    type=_POSITIVE,
    metavar="S",
    help="Stop sending after S seconds. With --trace: seconds of the trace.",
)
@click.option(
    "--num-requests",
    type=click.IntRange(min=1),
    metavar="N",
    help=f"Stop sending after N requests [default: {_DEFAULT_REQUESTS}, or all of the trace].",
)
@click.option(
    "--start", type=click.FloatRange(min=0), metavar="S", help="Skip S seconds of the trace."
)
@click.option("--speed", type=_POSITIVE, metavar="X", help="Replay the trace X times as fast.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of random times.")
@click.option(
    "--prompt-len",
    type=click.IntRange(min=1),
    metavar="N",
    help="Length of a prompt: N times `Hi ` [default: 1000, or what the trace says].",
)
@click.option(
    "--max-tokens",
    type=click.IntRange(min=1),
    metavar="N",
    help="Longest answer, in tokens [default: 80, or what the trace says].",
)
@click.option(
    "--ignore-eos",
    is_flag=True,
    help="Ask vLLM for exactly the longest answer; other servers may refuse this.",
)
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="NAME",
    help="Model to ask; may be repeated [default: all models of the server, in turns].",
)
@click.option(
    "--stream/--no-stream",
    default=True,
    help="Ask for the answer token by token, or in one piece [default: stream].",
)
@click.option(
    "--api-key", envvar="OPENAI_API_KEY", metavar="KEY", help="Sent as `Authorization: Bearer KEY`."
)
@click.option(
    "--timeout",
    type=_POSITIVE,
    default=600.0,
    show_default=True,
    metavar="S",
    help="Give up a request after S seconds.",
)
@click.option(
    "--output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Format of the report.",
)
def load(url: str, output: str, **options: object) -> None:
    """Send OpenAI chat requests to URL and report latencies, throughput and errors.

    Without --rate, --trace or --concurrency all requests are sent at once. With --rate and --trace
    requests leave when they are due, however slow the answers are, and latencies count from then.
    Exits with 1 if any request failed.

    \b
    stoker load --num-requests 100 --prompt-len 3000
    stoker load http://localhost:8000 --rate 4 --duration 60
    stoker load --trace AzureLLMInferenceTrace_conv.csv --start 600 --duration 180 --speed 3
    """  # noqa: D301 - click wants the backspace character itself
    from stoker.load.text import render  # noqa: PLC0415

    plan = _plan(_Options(**options))  # type: ignore[arg-type]  # click has checked them
    report = _run(plan, url)
    print(json.dumps(report.to_dict(), indent=2) if output == "json" else render(report))
    if report.cancelled:
        sys.exit(130)
    if report.failed:
        sys.exit(1)


@dataclass(frozen=True, slots=True)
class _Options:
    """The options as click gives them; None: not given."""

    rate: float | None
    trace: Path | None
    trace_format: str | None
    skip_bad_rows: bool
    synthetic: str | None
    concurrency: int | None
    duration: float | None
    num_requests: int | None
    start: float | None
    speed: float | None
    seed: int
    prompt_len: int | None
    max_tokens: int | None
    ignore_eos: bool
    models: tuple[str, ...]
    stream: bool
    api_key: str | None
    timeout: float


def _plan(options: _Options) -> Plan:
    """What the options ask for.

    Raises:
        InputError: they contradict each other.
    """
    from stoker.load.runner import Plan  # noqa: PLC0415

    ways = ("rate", "trace", "synthetic", "concurrency")
    given = [f"--{way}" for way in ways if getattr(options, way) is not None]
    if len(given) > 1:
        raise InputError(f"`{given[0]}` and `{given[1]}` cannot be used together")
    for name in ("start", "speed"):
        if options.trace is None and getattr(options, name) is not None:
            raise InputError(f"`--{name}` is for a trace", hint="add `--trace FILE`")
    requests = options.num_requests
    if requests is None and options.duration is None and options.trace is None:
        requests = _DEFAULT_REQUESTS
    if not given and options.duration is not None:
        raise InputError(
            "`--duration` needs to know how fast to send",
            hint="add `--rate R`, `--trace FILE` or `--concurrency N`",
        )
    return Plan(
        arrivals=islice(_arrivals(options), requests),
        concurrency=options.concurrency,
        duration=options.duration,
        models=options.models,
        stream=options.stream,
        ignore_eos=options.ignore_eos,
        api_key=options.api_key,
        timeout=options.timeout,
        total=requests,
        same_prompt=not given,  # the burst of the tutorials; recorded prompts differ
    )


def _arrivals(options: _Options) -> Iterable[Arrival]:
    from stoker.load import arrivals  # noqa: PLC0415

    if options.trace is not None:
        return arrivals.of(_recorded(options, options.trace))
    if options.synthetic is not None:
        return arrivals.of(_invented(options, options.synthetic))
    lengths = (options.prompt_len or 1000, options.max_tokens or 80)
    if options.rate is not None:
        process = arrivals.poisson(options.rate, *lengths, seed=options.seed)
        return arrivals.until(process, options.duration)
    return arrivals.at_once(*lengths)


def _recorded(options: _Options, trace: Path) -> Iterable[Arrivals]:
    """A trace from its first request on, with the changes that the flags ask for."""
    from stoker.traces import transform  # noqa: PLC0415

    whole = read(trace, trace_format=options.trace_format, skip_bad_rows=options.skip_bad_rows)
    chunks = transform.cut(
        transform.from_zero(whole), start=options.start or 0.0, duration=options.duration
    )
    return transform.lengths_set(
        transform.stretched(chunks, 1 / (options.speed or 1.0)),
        prompt_tokens=options.prompt_len,
        output_tokens=options.max_tokens,
    )


def _invented(options: _Options, expression: str) -> Iterable[Arrivals]:
    return synthetic(
        expression,
        duration=options.duration,
        seed=options.seed,
        prompt_tokens=None if options.prompt_len is None else str(options.prompt_len),
        output_tokens=None if options.max_tokens is None else str(options.max_tokens),
    )


def _run(plan: Plan, url: str) -> LoadReport:
    """Run it. The first Ctrl-C ends the run with a report, the second ends the program."""
    import uvloop  # noqa: PLC0415

    from stoker.load.progress import Bar  # noqa: PLC0415
    from stoker.load.runner import run  # noqa: PLC0415

    async def main(on_progress: Callable[[Progress], None] | None) -> LoadReport:
        loop, stop = asyncio.get_running_loop(), asyncio.Event()

        def interrupt() -> None:
            loop.remove_signal_handler(signal.SIGINT)
            stop.set()

        loop.add_signal_handler(signal.SIGINT, interrupt)
        return await run(plan, url, on_progress=on_progress, stop=stop)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if not sys.stderr.isatty():
            return runner.run(main(None))
        with Bar(plan.total) as bar:
            return runner.run(main(bar.show))
