"""Writing the Prometheus text format, in the form that vLLM's client library gives it.

Labels are written once, when a series is made, so that a page of four hundred series costs well
under a millisecond. Every counter and histogram is followed by its ``_created`` gauge.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Protocol


def number(value: float) -> str:
    """``1.0``, ``1.7953589e+09``, ``+Inf``: a float as Go and the Python client write it."""
    if value == float("inf"):
        return "+Inf"
    text = repr(float(value))
    dot = text.find(".")
    if value > 0 and dot > 6:
        mantissa = f"{text[0]}.{text[1:dot]}{text[dot + 1 :]}".rstrip("0.")
        return f"{mantissa}e+{dot - 1:02d}"
    return text


def label_text(labels: Mapping[str, str]) -> str:
    """``{a="1",b="2"}`` in alphabetical order, empty for none."""
    if not labels:
        return ""
    escape = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
    pairs = (f'{name}="{labels[name].translate(escape)}"' for name in sorted(labels))
    return "{" + ",".join(pairs) + "}"


def head(name: str, text: str, type_: str) -> str:
    """The two comment lines of a family."""
    return f"# HELP {name} {text}\n# TYPE {name} {type_}"


class Family(Protocol):
    """A metric with all its series."""

    def write(self, lines: list[str]) -> None:
        """Add its lines to the page."""
        ...


class Gauges:
    """Gauges of one name. The labels of each are its key."""

    def __init__(self, name: str, text: str) -> None:
        self._name = name
        self._head = head(name, text, "gauge")
        self._values: dict[str, float] = {}

    def set(self, labels: Mapping[str, str], value: float) -> None:
        """Set one of them."""
        self._values[self._name + label_text(labels)] = value

    def write(self, lines: list[str]) -> None:
        """Add the lines of all."""
        lines.append(self._head)
        lines += [f"{series} {number(value)}" for series, value in self._values.items()]


class Counter:
    """A total that only grows. Its series is part of :class:`Counters`."""

    __slots__ = ("created", "value")

    def __init__(self, created: float) -> None:
        self.value = 0.0
        self.created = created


class Counters:
    """Counters of one name, which is written with ``_total``."""

    def __init__(self, name: str, text: str) -> None:
        self._name = name
        self._heads = head(f"{name}_total", text, "counter"), head(f"{name}_created", text, "gauge")
        self._series: dict[str, Counter] = {}

    def labels(self, labels: Mapping[str, str], now: float) -> Counter:
        """The counter with these labels, made at *now* if it is new."""
        return self._series.setdefault(label_text(labels), Counter(now))

    def write(self, lines: list[str]) -> None:
        """Add the lines of all."""
        lines.append(self._heads[0])
        for labels, counter in self._series.items():
            lines.append(f"{self._name}_total{labels} {number(counter.value)}")
        lines.append(self._heads[1])
        for labels, counter in self._series.items():
            lines.append(f"{self._name}_created{labels} {number(counter.created)}")


class Histogram:
    """Observations in buckets. Its series are part of :class:`Histograms`."""

    __slots__ = ("_bounds", "counts", "created", "sum")

    def __init__(self, bounds: Sequence[float], created: float) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0
        self.created = created

    def observe(self, value: float) -> None:
        """Count *value*, in the first bucket whose bound is not below it."""
        self.counts[bisect_left(self._bounds, value)] += 1
        self.sum += value


class Histograms:
    """Histograms of one name with the same *bounds*; ``+Inf`` is added."""

    def __init__(self, name: str, text: str, bounds: Sequence[float]) -> None:
        self._name = name
        self._bounds = tuple(bounds)
        self._heads = head(name, text, "histogram"), head(f"{name}_created", text, "gauge")
        self._series: dict[str, tuple[list[str], Histogram]] = {}

    def labels(self, labels: Mapping[str, str], now: float) -> Histogram:
        """The histogram with these labels, made at *now* if it is new."""
        key = label_text(labels)
        if key not in self._series:
            buckets = [
                f"{self._name}_bucket" + label_text({**labels, "le": number(bound)})
                for bound in (*self._bounds, float("inf"))
            ]
            self._series[key] = buckets, Histogram(self._bounds, now)
        return self._series[key][1]

    def write(self, lines: list[str]) -> None:
        """Add the lines of all."""
        lines.append(self._heads[0])
        for labels, (buckets, histogram) in self._series.items():
            total = 0
            for bucket, count in zip(buckets, histogram.counts, strict=True):
                total += count
                lines.append(f"{bucket} {total}.0")
            lines.append(f"{self._name}_count{labels} {total}.0")
            lines.append(f"{self._name}_sum{labels} {number(histogram.sum)}")
        lines.append(self._heads[1])
        for labels, (_, histogram) in self._series.items():
            lines.append(f"{self._name}_created{labels} {number(histogram.created)}")


def page(families: Sequence[Family]) -> str:
    """The text of a whole page."""
    lines: list[str] = []
    for family in families:
        family.write(lines)
    return "\n".join(lines) + "\n"
