"""What a running Prometheus, or the page of an engine, answers to the queries of the files."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import promql_parser as ast

from stoker.checks import metrics
from stoker.checks.base import Finding, Query, Severity, Subject
from stoker.checks.registry import subjects
from stoker.checks.selecting import query_place
from stoker.checks.shapes import metric_name, selectors, walk
from stoker.errors import QueryError
from stoker.promql.value import Sample, Scalar, String, Value, Vector
from stoker.resources.bundle import Bundle

Ask = Callable[[str], Value]
"""The value of a query now. Raises QueryError."""

_STALE = 120.0  # seconds: four scrapes of 30 s that brought nothing
_FAR_TOO_MUCH = 10  # times the replicas that there may be
_SHOWN = 3  # values of a label, or elements of a result


@dataclass(frozen=True, slots=True)
class Source:
    """Who is asked. A *page* has one sample of each series, so that rates have no value."""

    name: str
    ask: Ask
    now: float
    is_page: bool = False


def examine_live(bundle: Bundle, source: Source) -> Iterator[Finding]:
    """What the answers of *source* say about the queries in *bundle*."""
    for subject in subjects(bundle):
        for query in subject.queries:
            if query.tree is not None:
                yield from _Examination(subject, query, query.tree, source).findings()


@dataclass(frozen=True, slots=True)
class _Examination:
    """One query."""

    subject: Subject
    query: Query
    tree: ast.Expr
    source: Source

    def findings(self) -> Iterator[Finding]:
        absent = list(self._absent_selectors())
        if self.source.is_page and self._has_range():
            yield from self._empty(absent) if absent else ()
            return
        try:
            value = self.source.ask(self.query.text)
        except QueryError as error:
            why = "KEDA gets the same answer at every poll, and the trigger never has a value"
            message = f"{self.source.name} refuses the query: {error.message}"
            yield self._finding("live-query-fails", Severity.ERROR, message, why, "")
            return
        if isinstance(value, Scalar | String) or not isinstance(value, Vector):
            return  # told by query-result-type
        if not value.samples:
            yield from self._empty(absent)
        elif len(value.samples) > 1:
            yield self._several(value.samples)
        else:
            yield from self._single(value.samples[0].v)
        yield from self._stale()

    def _finding(self, code: str, severity: Severity, message: str, why: str, hint: str) -> Finding:
        place = query_place(self.subject, self.query)
        return self.subject.finding(code, severity, (message, why, hint), place)

    def _has_range(self) -> bool:
        kinds = ast.MatrixSelector | ast.SubqueryExpr
        return any(isinstance(node, kinds) for node in walk(self.tree))

    # -- nothing --------------------------------------------------------------------------------

    def _absent_selectors(self) -> Iterator[str]:
        """What is wrong with each selector that selects nothing."""
        for selector in selectors(self.tree):
            if self._count(str(_bare(selector))):
                continue
            name = metric_name(selector)
            if name is None:
                yield f"no series matches {_bare(selector)}"
            elif not self._count(name):
                yield f"there is no series {name}"
            else:
                yield from self._wrong_matchers(name, selector)

    def _wrong_matchers(self, name: str, selector: ast.VectorSelector) -> Iterator[str]:
        """The conditions that no series of *name* meets, with the values that there are."""
        told = False
        for matcher in selector.matchers.matchers:
            if matcher.name == "__name__" or self._count(f"{name}{{{_written(matcher)}}}"):
                continue
            told = True
            values = self._values(name, matcher.name)
            there = f"it has {values}" if values else f"it has no label {matcher.name}"
            yield f"no series {name} has {_written(matcher)}: {there}"
        if not told:
            yield f"no series {name} meets all conditions of {_bare(selector)} at once"

    def _values(self, name: str, label: str) -> str:
        value = self._asked(f"group by ({label}) ({name})")
        found = [sample.labels.get(label, "") for sample in value]
        known = sorted({text for text in found if text})
        told = ", ".join(f'{label}="{text}"' for text in known[:_SHOWN])
        return told + (f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else "")

    def _count(self, selector: str) -> int:
        found = self._asked(f"count({selector})")
        return int(found[0].v) if found else 0

    def _asked(self, query: str) -> tuple[Sample, ...]:
        """The elements of a vector; none where it is refused."""
        try:
            value = self.source.ask(query)
        except QueryError:
            return ()
        return value.samples if isinstance(value, Vector) else ()

    def _empty(self, reasons: list[str]) -> Iterator[Finding]:
        metric_names = {metric_name(selector) for selector in selectors(self.tree)}
        if self.subject.scales_to_zero and metric_names & metrics.ENGINE:
            severity = Severity.INFO  # there may be no replica at this moment
            why = "That is so while no replica runs. Ask again when one does"
        else:
            severity = Severity.ERROR
            why = "An empty result is a good 0 to KEDA, not an error: it never scales up"
        because = f": {'; '.join(reasons)}" if reasons else ""
        message = f"the query gives nothing at {self.source.name}{because}"
        hint = "try the query in Prometheus, without conditions first"
        yield self._finding("live-empty-result", severity, message, why, hint)

    # -- something ------------------------------------------------------------------------------

    def _several(self, samples: tuple[Sample, ...]) -> Finding:
        shown = ", ".join(str(sample.labels) for sample in samples[:_SHOWN])
        more = " ..." if len(samples) > _SHOWN else ""
        return self._finding(
            "live-several-elements",
            Severity.ERROR,
            f"the query gives {len(samples)} elements at {self.source.name}: {shown}{more}",
            'KEDA takes one, says "returned multiple elements", and the metric is lost',
            f"sum({self.query.text.strip()})",
        )

    def _single(self, value: float) -> Iterator[Finding]:
        if not math.isfinite(value):
            message = f"the query gives {value} at {self.source.name}"
            why = "KEDA takes NaN and infinities for 0: it scales down, and goes to zero if it may"
            hint = 'ignoreNullValues: "false" makes it an error: replicas stay as they are'
            yield self._finding("live-not-a-number", Severity.WARNING, message, why, hint)
            return
        threshold, most = self._threshold(), self.subject.scaling.max_replicas
        if threshold and value / threshold > _FAR_TOO_MUCH * most:
            message = f"the value is {value:g} at {self.source.name}, the threshold {threshold:g}"
            why = (
                f"That asks for {math.ceil(value / threshold)} replicas where {most} may be. Is "
                "one in seconds and the other in milliseconds, or a counter without rate()?"
            )
            hint = "the same unit for both"
            yield self._finding("live-value-cannot-be-meant", Severity.WARNING, message, why, hint)

    def _threshold(self) -> float:
        try:
            return float(self.query.trigger.metadata.get("threshold", ""))
        except ValueError:
            return 0.0

    def _stale(self) -> Iterator[Finding]:
        """Series that are still found, though nothing has come for a while."""
        if self.source.is_page:
            return
        for text in sorted({str(_bare(selector)) for selector in selectors(self.tree)}):
            newest = self._asked(f"max(timestamp({text}))")
            age = self.source.now - newest[0].v if newest else 0.0
            if age > _STALE:
                message = f"the newest sample of {text} is {age:.0f} s old at {self.source.name}"
                why = (
                    "Prometheus finds a series for 5 min after its last sample: KEDA sees old load"
                )
                hint = "is the target still scraped? See `up` and the targets page of Prometheus"
                yield self._finding("live-stale", Severity.WARNING, message, why, hint)


def _bare(selector: ast.VectorSelector) -> str:
    """The selector without `offset` and `@`."""
    written = ",".join(
        _written(matcher) for matcher in selector.matchers.matchers if matcher.name != "__name__"
    )
    name = metric_name(selector)
    if name is None:
        return str(selector)
    if selector.matchers.or_matchers:
        return str(selector)
    return f"{name}{{{written}}}" if written else name


_OPERATORS = (
    (ast.MatchOp.Equal, "="), (ast.MatchOp.NotEqual, "!="), (ast.MatchOp.Re, "=~"),
    (ast.MatchOp.NotRe, "!~"),
)  # fmt: skip


def _written(matcher: ast.Matcher) -> str:
    operator = next(sign for kind, sign in _OPERATORS if matcher.op == kind)
    text = matcher.value.replace("\\", "\\\\").replace('"', '\\"')
    return f'{matcher.name}{operator}"{text}"'
