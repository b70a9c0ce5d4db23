"""What a check says, and what it looks at.

A rule is a function from a ScaledObject, or from all files, to findings. It knows one thing that
goes wrong in a cluster although every object is accepted there. To add one: write the function in
the module of its subject, name it in :mod:`stoker.checks.registry`, write its page in ``pages/``,
and give the tests a file that has the fault and one that has not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import promql_parser

from stoker.checks.edits import Edit
from stoker.errors import Place
from stoker.resources.bundle import Application, Bundle
from stoker.resources.document import Manifest
from stoker.scaling.spec import ScalingSpec, TriggerSpec


class Severity(StrEnum):
    """How bad it is."""

    ERROR = "error"  # it does not scale, or scales to the wrong number
    WARNING = "warning"  # it scales otherwise than it reads
    INFO = "info"  # good to know


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, in three sentences, and where."""

    code: str  # multi-element-query
    severity: Severity
    message: str  # what is wrong
    why: str  # what happens in a cluster; empty where the message says it
    hint: str  # what to write instead; empty where nobody knows
    place: Place
    resource: str = ""  # the object: ScaledObject vllm-llama3-scaledobject
    edits: tuple[Edit, ...] = ()  # that mend it and change nothing else

    @property
    def order(self) -> tuple[str, int, int, int, str, str]:
        """By place, the worst first at each."""
        place = self.place
        worst = _ORDER[self.severity]
        return place.file, place.line or 0, place.column or 0, worst, self.code, self.message


_ORDER = {severity: number for number, severity in enumerate(Severity)}


@dataclass(frozen=True, slots=True)
class Versions:
    """Of the cluster that the files are for."""

    kubernetes: str = "1.36"
    keda: str = "2.20"
    gpus: int | None = None  # None: nobody has said


@dataclass(frozen=True, slots=True)
class Subject:
    """A ScaledObject with its queries parsed, and what it scales as far as the files say."""

    application: Application | None  # None: what it scales is not in the files, or no vLLM
    scaling: ScalingSpec
    manifest: Manifest  # the ScaledObject
    bundle: Bundle
    queries: tuple[Query, ...]
    deployment: Manifest | None = None  # None: not in the files
    versions: Versions = Versions()

    @property
    def scales_to_zero(self) -> bool:
        """Whether KEDA may take it to zero."""
        return self.scaling.min_replicas == 0 or self.scaling.idle_replica_count == 0

    @property
    def model(self) -> str:
        """The name that the engines report, or a placeholder where the files do not say."""
        return self.application.workload.model if self.application else "MODEL"

    def place(self, *path: str | int, key: bool = False) -> Place:
        """Where the user wrote what stands at *path* below ``spec`` of the ScaledObject."""
        return self.manifest.place("spec", *path, key=key)

    def is_written(self, *path: str | int) -> bool:
        """Whether the user wrote it, or it is a default."""
        return self.manifest.origin.exists(("spec", *path))

    def edit(self, *path: str | int, **change: Any) -> tuple[Edit, ...]:
        """A change of what the user wrote at *path* below ``spec``; none where it is a default."""
        if not self.is_written(*path):
            return ()
        origin = self.manifest.origin
        return (Edit(origin.document, origin.written(("spec", *path)), **change),)

    def finding(
        self,
        code: str,
        severity: Severity,
        text: tuple[str, str, str],
        place: Place,
        edits: tuple[Edit, ...] = (),
    ) -> Finding:
        """A finding about this ScaledObject; *text* is message, why and hint."""
        return Finding(code, severity, *text, place, f"ScaledObject {self.scaling.name}", edits)


@dataclass(frozen=True, slots=True)
class Query:
    """The PromQL of one trigger. ``tree`` is None where it cannot be parsed; ``error`` says why."""

    trigger: TriggerSpec
    text: str
    tree: promql_parser.Expr | None
    error: str = ""


Rule = Callable[[Subject], Iterator[Finding]]
BundleRule = Callable[[Bundle], Iterator[Finding]]


def code_of(rule: Callable[..., object]) -> str:
    """``multi-element-query`` of ``multi_element_query``."""
    return rule.__name__.replace("_", "-")
