"""Run PromQL test scripts: ``python -m stoker.promql.promqltest FILE...``.

Prints a line a file, the difference of the first failures, and at the end
``N passed, N failed, N skipped``. Skipped are cases that need native histograms, and only those.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from stoker.errors import QueryError
from stoker.metrics.sample import Labels, format_value
from stoker.metrics.storage import Storage
from stoker.promql.ast import selectors
from stoker.promql.engine import instant, range_
from stoker.promql.literals import printable
from stoker.promql.parsing import parse
from stoker.promql.script import Annotation, Clear, Eval, Load, Point, Unreadable, read
from stoker.promql.value import Matrix, Scalar, String, Value, Vector

_TOLERANCE: Final = 1e-6
_SHOWN: Final = 5

Outcome = Literal["passed", "failed", "skipped"]


@dataclass(frozen=True, slots=True)
class Case:
    """One ``eval`` and how it went. *difference* is empty unless it failed."""

    line: int
    query: str
    outcome: Outcome
    difference: str = ""


def run(text: str, source: str = "script", *, keep_going: bool = False) -> list[Case]:
    """All cases of a script.

    Raises InputError if the script itself is wrong, unless it is to *keep_going*: then what cannot
    be read is a failed case.
    """
    bench = _Bench()
    cases = []
    for command in read(text, source):
        match command:
            case Clear():
                bench = _Bench()
            case Load():
                bench.load(command)
            case Eval():
                cases.append(bench.checked(command) if keep_going else bench.check(command))
            case Unreadable() if keep_going:
                told = f"cannot be read: {command.error}"
                cases.append(Case(command.line, command.text, "failed", told))
            case Unreadable():
                raise command.error
    return cases


class _Bench:
    """What has been loaded so far."""

    def __init__(self) -> None:
        self._samples: dict[Labels, dict[float, float]] = {}
        self._native: list[Labels] = []
        self._storage: Storage | None = None

    def load(self, command: Load) -> None:
        """Add series; a sample that is loaded again replaces the former."""
        for labels, values in command.series:
            samples = self._samples.setdefault(labels, {})
            for i, value in enumerate(values):
                if value is not None:
                    samples[i * command.interval] = value
        self._native += command.native
        self._storage = None

    def checked(self, case: Eval) -> Case:
        """Like :meth:`check`; a fault of ours is a failed case, and the others still run."""
        try:
            return self.check(case)
        except Exception as error:  # noqa: BLE001 - told as it is
            told = f"the evaluator broke: {type(error).__name__}: {error}"
            return Case(case.line, case.query, "failed", told)

    def check(self, case: Eval) -> Case:
        """Ask, and compare."""
        if case.native or self._needs_native(case.query):
            return Case(case.line, case.query, "skipped")
        failure = next(iter(case.wants("fail")), None)
        try:
            value = self._ask(case)
        except QueryError as error:
            if not case.wants("fail"):
                return Case(case.line, case.query, "failed", f"unexpected error: {error}")
            difference = "\n".join(_texts("error", case.wants("fail"), [error.message]))
        else:
            if failure is not None:
                return Case(case.line, case.query, "failed", f"expected an error, got\n{value}")
            difference = "\n".join(_differences(case, value))
        return Case(case.line, case.query, "failed" if difference else "passed", difference)

    def _ask(self, case: Eval) -> Value:
        storage = self._filled()
        # Scripts from before version 3 call it so.
        query = re.sub(r"\bholt_winters\b", "double_exponential_smoothing", case.query)
        # The field's own runner takes names away at the end, and its scripts show it.
        if case.step:
            return range_(query, storage, case.start, case.end, case.step, delayed_names=True)
        return instant(query, storage, case.start, delayed_names=True)

    def _filled(self) -> Storage:
        if self._storage is None:
            self._storage = Storage(retention=1e12, max_bytes=2**40)
            for labels, samples in self._samples.items():
                for t in sorted(samples):
                    self._storage.append(labels, t, samples[t])
        return self._storage

    def _needs_native(self, query: str) -> bool:
        if "{{" in query:
            return True
        if not self._native:
            return False
        try:
            node = parse(query)
        except QueryError:
            return False
        return any(
            all(matcher.matches(labels.get(matcher.name)) for matcher in selector.matchers)
            for selector in selectors(node)
            for labels in self._native
        )


# -- comparison ----------------------------------------------------------------------------------


def _differences(case: Eval, value: Value) -> Iterator[str]:
    yield from _notes(case, value)
    if isinstance(value, String):
        if value.v != case.string:
            yield f"expected string {case.string!r}, got {value.v!r}"
        return
    if isinstance(value, Scalar):
        if case.scalar is None or not _close(case.scalar, value.v):
            expected = "nothing" if case.scalar is None else format_value(case.scalar)
            yield f"expected scalar {expected}, got {format_value(value.v)}"
        return
    if case.scalar is not None:
        yield f"expected scalar {format_value(case.scalar)}, got\n{value}"
        return
    yield from _series_differences(case, value)


def _notes(case: Eval, value: Value) -> Iterator[str]:
    for kind, prefix in (("warn", "PromQL warning"), ("info", "PromQL info")):
        notes = [note for note in value.annotations if note.startswith(prefix)]
        if case.wants(f"no_{kind}") and notes:
            yield f"expected no {kind}, got {notes}"
        if case.wants(kind):
            if not notes:
                yield f"expected a {kind}, got none"
            yield from _texts(kind, case.wants(kind), notes)
            told = [one for one in case.wants(kind) if one.message]
            if told == case.wants(kind):
                yield from (
                    f"unexpected {kind}: {note}"
                    for note in notes
                    if not any(_fits(one, note) for one in told)
                )


def _texts(kind: str, wanted: list[Annotation], got: list[str]) -> Iterator[str]:
    for one in wanted:
        if one.message and not any(_fits(one, text) for text in got):
            yield f"expected {kind} {one.message!r}, got {got}"


def _fits(wanted: Annotation, text: str) -> bool:
    if wanted.is_regex:
        return re.search(wanted.message, text) is not None
    # Some scripts name the place in the query, which an annotation here does not.
    message = re.sub(r" \(\d+:\d+\)$", "", wanted.message)
    return message in {text, text.removeprefix("parse error: ")}


def _series_differences(case: Eval, value: Vector | Matrix) -> Iterator[str]:
    got = list(_rows(case, value))
    if case.ordered and [labels for labels, _ in got] != [labels for labels, _ in case.series]:
        yield f"expected this order: {', '.join(str(labels) for labels, _ in case.series)}"
    ours = dict(got)
    wanted = {labels: _trimmed(points) for labels, points in case.series}
    for labels, points in wanted.items():
        if labels not in ours:
            yield f"missing: {labels} {_shown(points)}"
        elif not _same(points, ours[labels]):
            yield f"{labels}: expected {_shown(points)}, got {_shown(ours[labels])}"
    for labels, points in ours.items():
        if labels not in wanted:
            yield f"unexpected: {labels} {_shown(points)}"


def _rows(case: Eval, value: Vector | Matrix) -> Iterator[tuple[Labels, tuple[Point, ...]]]:
    """The answer in the notation of the script: a value a step."""
    if isinstance(value, Vector):
        for sample in value.samples:
            yield sample.labels, (sample.v,)
        return
    start, step = case.start, case.step
    if case.matrix is not None:
        start, _, step = case.matrix
    for series in value.series:
        if not step:
            yield series.labels, tuple(v for _, v in series.points)
            continue
        points: dict[int, float] = {round((t - start) / step): v for t, v in series.points}
        yield series.labels, tuple(points.get(i) for i in range(max(points, default=-1) + 1))


def _trimmed(points: tuple[Point, ...]) -> tuple[Point, ...]:
    while points and points[-1] is None:
        points = points[:-1]
    return points


def _same(expected: tuple[Point, ...], got: tuple[Point, ...]) -> bool:
    return len(expected) == len(got) and all(
        (a is None and b is None) or (a is not None and b is not None and _close(a, b))
        for a, b in zip(expected, got, strict=True)
    )


def _close(a: float, b: float) -> bool:
    """Equal within a millionth of their sum; NaN equals NaN."""
    if math.isnan(a) or math.isnan(b):
        return math.isnan(a) and math.isnan(b)
    if a == b:
        return True
    size, apart = abs(a) + abs(b), abs(a - b)
    if a == 0 or b == 0 or size < sys.float_info.min:
        return apart < _TOLERANCE * sys.float_info.min
    return apart / min(size, sys.float_info.max) < _TOLERANCE


def _shown(points: tuple[Point, ...]) -> str:
    return " ".join("_" if point is None else format_value(point) for point in points)


# -- command -------------------------------------------------------------------------------------


def main(paths: list[str]) -> int:
    """Run script files and print what happened. Returns the exit code."""
    totals: dict[Outcome, int] = {"passed": 0, "failed": 0, "skipped": 0}

    def write(text: str) -> None:
        sys.stdout.write(printable(text))

    for path in paths:
        try:
            cases = run(Path(path).read_text(encoding="utf-8"), path, keep_going=True)
        except (ValueError, OSError) as error:
            totals["failed"] += 1
            write(f"{path}: cannot be read: {error}\n")
            continue
        counts: dict[Outcome, int] = {"passed": 0, "failed": 0, "skipped": 0}
        for case in cases:
            counts[case.outcome] += 1
            totals[case.outcome] += 1
        write(f"{path}: {_summary(counts)}\n")
        for case in [case for case in cases if case.outcome == "failed"][:_SHOWN]:
            write(f"  {path}:{case.line}: {case.query}\n")
            write("".join(f"      {line}\n" for line in case.difference.splitlines()))
    write(f"{_summary(totals)}\n")
    return 1 if totals["failed"] else 0


def _summary(counts: dict[Outcome, int]) -> str:
    return ", ".join(f"{count} {outcome}" for outcome, count in counts.items())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
