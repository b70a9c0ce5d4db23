"""One step of the way of data, with a field for each of its six stations.

``explain``, the live view, the log and the reports all show this record, in this order, in these
words.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from stoker.scaling.decision import Decision, Recommendation
from stoker.scaling.observation import Reader, TargetStatus, TriggerReading, TriggerValue
from stoker.scaling.records import quick
from stoker.scaling.spec import ScaleTargetRef, SpecKind


@quick
@dataclass(frozen=True, slots=True)
class Samples:
    """What step 1 had to offer."""

    replicas_scraped: int
    series: int
    newest_age: float | None  # seconds since the newest scrape; None: nothing was ever scraped


@quick
@dataclass(frozen=True, slots=True)
class Tick:
    """One look at one ScaledObject, by KEDA's poll or by the HPA's sync.

    ``readings`` carries step 2: each has its query as ``source`` and its result as ``answer``.
    ``notes`` are sentences for a person: what comes next, and what is wrong with the file.
    """

    time: float
    reader: Reader
    namespace: str
    name: str
    target: ScaleTargetRef
    samples: Samples
    readings: tuple[TriggerReading, ...]
    values: tuple[TriggerValue, ...]
    recommendations: tuple[Recommendation, ...]
    decision: Decision
    status: TargetStatus
    next: tuple[str, ...] = ()
    kind: SpecKind = SpecKind.SCALED_OBJECT  # whose `name` it is

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON would hold it: enumerations by value, tuples as lists."""
        return asdict(self)
