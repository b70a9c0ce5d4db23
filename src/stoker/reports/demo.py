"""The end of the demonstration: a table of what happened, and a verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from rich.table import Table

_ROWS_EVERY = 5.0  # seconds between rows where nothing changes


@dataclass(frozen=True, slots=True)
class Sample:
    """One look. *time* in seconds since the start."""

    time: float
    waiting: int
    running: int
    wanted: int
    ready: int
    decision: str

    def __str__(self) -> str:
        return (
            f"{clock(self.time):>7}  waiting {self.waiting:>3}  running {self.running:>3}  "
            f"replicas {self.ready}/{self.wanted}  {self.decision}"
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether it was what the tutorial promises. *path* are the numbers of ready replicas."""

    path: tuple[int, ...]
    requests_ok: int
    requests_failed: int
    ttft_p50: float | None  # seconds
    ttft_p95: float | None
    tokens_per_second: float
    complaints: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Up, down again, and no request failed."""
        return not self.complaints

    def __str__(self) -> str:
        return (
            f"{'ok' if self.ok else 'FAILED'}: replicas {'→'.join(map(str, self.path))}, "
            f"requests {self.requests_ok} ok {self.requests_failed} failed, "
            f"TTFT p50 {_seconds(self.ttft_p50)} p95 {_seconds(self.ttft_p95)}, "
            f"{self.tokens_per_second:.0f} tokens/s"
        )


def verdict(samples: Sequence[Sample], report: Mapping[str, Any]) -> Verdict:
    """Judge *samples*, and the report of `stoker load` as JSON."""
    path = tuple(ready for ready, _ in groupby(s.ready for s in samples if s.ready > 0))
    failed = int(report["failed"])
    complaints = []
    if len(path) < 2 or max(path) == path[0]:
        complaints.append(f"replicas did not rise above {path[0] if path else 0}")
    elif path[-1] >= max(path):
        complaints.append(f"replicas did not fall again from {max(path)}")
    if failed:
        complaints.append(f"{failed} requests failed: {report['errors']}")
    if not report["ok"]:
        complaints.append("no request was answered")
    ttft = report["ttft"] or {}
    return Verdict(
        path=path,
        requests_ok=int(report["ok"]),
        requests_failed=failed,
        ttft_p50=ttft.get("p50"),
        ttft_p95=ttft.get("p95"),
        tokens_per_second=float(report["output_tokens_per_second"]),
        complaints=tuple(complaints),
    )


def timeline(samples: Sequence[Sample]) -> Table:
    """A row whenever replicas change, and every few seconds in between."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("TIME", "WAITING", "RUNNING", "WANTED", "READY"):
        table.add_column(name, justify="right")
    table.add_column("LAST DECISION")
    last: Sample | None = None
    for sample in samples:
        quiet = last is not None and (sample.wanted, sample.ready) == (last.wanted, last.ready)
        if last is not None and quiet and sample.time - last.time < _ROWS_EVERY:
            continue
        numbers = (sample.waiting, sample.running, sample.wanted, sample.ready)
        table.add_row(clock(sample.time), *map(str, numbers), sample.decision)
        last = sample
    return table


def clock(seconds: float) -> str:
    """``+1m05s``."""
    minutes, rest = divmod(int(seconds), 60)
    return f"+{minutes}m{rest:02d}s" if minutes else f"+{rest}s"


def _seconds(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s"
