"""What a query yields. The values print themselves as Prometheus' own tools do."""

from __future__ import annotations

from dataclasses import dataclass

from stoker.metrics.sample import EMPTY, Labels, format_value

Annotations = tuple[str, ...]


def format_time(t: float) -> str:
    """Seconds with milliseconds only where there are some: ``1435781451.781``."""
    milliseconds = round(t * 1000)
    sign, milliseconds = ("-", -milliseconds) if milliseconds < 0 else ("", milliseconds)
    seconds, rest = divmod(milliseconds, 1000)
    return f"{sign}{seconds}.{rest:03d}" if rest else f"{sign}{seconds}"


@dataclass(frozen=True, slots=True)
class Sample:
    """One element of an instant vector. ``t`` is the time of evaluation, seconds."""

    labels: Labels
    t: float
    v: float

    def __str__(self) -> str:
        return f"{self.labels} => {format_value(self.v)} @[{format_time(self.t)}]"


@dataclass(frozen=True, slots=True)
class Series:
    """One element of a range vector: (seconds, value) in the order of time."""

    labels: Labels
    points: tuple[tuple[float, float], ...]

    def __str__(self) -> str:
        lines = [f"{format_value(v)} @[{format_time(t)}]" for t, v in self.points]
        return "\n".join([f"{self.labels} =>", *lines])


@dataclass(frozen=True, slots=True)
class Scalar:
    """A number without labels."""

    t: float
    v: float
    annotations: Annotations = ()

    def __str__(self) -> str:
        return f"scalar: {format_value(self.v)} @[{format_time(self.t)}]"


@dataclass(frozen=True, slots=True)
class String:
    """A string literal, evaluated."""

    t: float
    v: str
    annotations: Annotations = ()

    def __str__(self) -> str:
        return self.v


@dataclass(frozen=True, slots=True)
class Vector:
    """An instant vector, in the order of its labels unless the query sorts."""

    samples: tuple[Sample, ...]
    annotations: Annotations = ()

    def __len__(self) -> int:
        return len(self.samples)

    def __str__(self) -> str:
        return "\n".join(str(sample) for sample in self.samples)

    def values(self) -> dict[Labels, float]:
        """Label set -> value."""
        return {sample.labels: sample.v for sample in self.samples}


@dataclass(frozen=True, slots=True)
class Matrix:
    """A range vector, or the answer of a range query, sorted by labels."""

    series: tuple[Series, ...]
    annotations: Annotations = ()

    def __len__(self) -> int:
        return len(self.series)

    def __str__(self) -> str:
        return "\n".join(str(series) for series in self.series)


Value = Scalar | String | Vector | Matrix


def labels_of(value: Value) -> tuple[Labels, ...]:
    """The label sets of an answer, in its order."""
    if isinstance(value, Vector):
        return tuple(sample.labels for sample in value.samples)
    if isinstance(value, Matrix):
        return tuple(series.labels for series in value.series)
    return (EMPTY,)
