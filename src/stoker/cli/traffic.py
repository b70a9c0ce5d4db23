"""Flags that say which traffic is meant: a recorded trace, or a synthetic one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from stoker.cli.params import DURATION
from stoker.errors import InputError

if TYPE_CHECKING:  # NumPy is not needed to print a help page
    from stoker.traces.arrivals import Arrivals
    from stoker.traces.synthetic import Lengths

_Command = TypeVar("_Command", bound=Callable[..., Any])

_READING = (
    click.option(
        "--trace-format",
        metavar="NAME",
        help="Format of the trace [default: what its first lines show].",
    ),
    click.option(
        "--skip-bad-rows",
        is_flag=True,
        help="Leave out rows that are no requests, and say how many [default: they are errors].",
    ),
)
_TRAFFIC = (
    click.option(
        "--trace",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Recorded traffic: Azure, BurstGPT, Mooncake, ServeGen, results of load generators.",
    ),
    click.option(
        "--synthetic",
        metavar="EXPR",
        help="Invented traffic, as `diurnal(base=2,peak=16,period=1h)+bursts(rate=20)`.",
    ),
)
_LENGTHS = (
    click.option(
        "--prompt-tokens",
        metavar="LAW",
        help="Length of prompts: 512, or `lognormal(median=1020,p90=2735)`.",
    ),
    click.option("--output-tokens", metavar="LAW", help="Length of answers, in the same way."),
    click.option(
        "--lengths-from",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Draw both lengths from the requests of a trace.",
    ),
)


def _decorated(options: Iterable[Callable[[Any], Any]]) -> Callable[[_Command], _Command]:
    def decorate(command: _Command) -> _Command:
        for option in reversed(list(options)):
            command = option(command)
        return command

    return decorate


reading_options = _decorated(_READING)
length_options = _decorated(_LENGTHS)
traffic_options = _decorated((*_TRAFFIC, *_READING, *_LENGTHS))
duration_option = click.option(
    "--duration", type=DURATION, metavar="D", help="Seconds of traffic, as 10m or 14d."
)


def read(path: Path, *, trace_format: str | None, skip_bad_rows: bool, seed: int = 0) -> Told:
    """A recorded trace that says on stderr what reading did to it."""
    from stoker.traces import reading  # noqa: PLC0415

    reader = reading.read(path, format_name=trace_format, skip_bad_rows=skip_bad_rows, seed=seed)
    return Told(path, reader)


class Told:
    """Chunks of a file; at their end its remarks are printed, once."""

    def __init__(self, path: Path, reader: Any) -> None:
        self.path = path
        self.reader = reader
        self._told = False

    def __iter__(self) -> Iterator[Arrivals]:
        yield from self.reader
        if not self._told:
            self._told = True
            for remark in self.reader.remarks:
                say(f"{self.path}: {remark}")


def synthetic(
    expression: str,
    *,
    duration: float | None,
    seed: int,
    prompt_tokens: str | None = None,
    output_tokens: str | None = None,
    lengths_from: Path | None = None,
) -> Iterable[Arrivals]:
    """Invented traffic.

    Raises:
        InputError: no duration, or an expression that is wrong.
    """
    from stoker.traces.synthetic import parse  # noqa: PLC0415

    if not duration:
        raise InputError("synthetic traffic has no end", hint="add --duration 1h")
    lengths = _lengths(prompt_tokens, output_tokens, lengths_from)
    return parse(expression, duration=duration, seed=seed, lengths=lengths)


def _lengths(prompt: str | None, output: str | None, trace: Path | None) -> Lengths:
    from stoker.traces import reading  # noqa: PLC0415
    from stoker.traces.synthetic import Lengths, parse_lengths  # noqa: PLC0415
    from stoker.traces.synthetic.lengths import CONVERSATION  # noqa: PLC0415

    if trace is not None:
        if prompt or output:
            raise InputError("`--lengths-from` already says how long requests are")
        return Lengths.like(reading.load(reading.read(trace)))
    return Lengths(
        parse_lengths(prompt) if prompt else CONVERSATION.prompt,
        parse_lengths(output) if output else CONVERSATION.output,
    )


def say(text: str) -> None:
    """A remark, on stderr."""
    print(text, file=sys.stderr)
