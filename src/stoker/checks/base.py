"""What a check says, and what it looks at.

A rule is a function from an application to findings. It knows one thing that goes wrong in a
cluster although every object is accepted there. To add one: write the function in the module of its
subject, name it in :mod:`stoker.checks.registry`, and give the tests a file that has the fault and
one that has not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

import promql_parser

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

    rule: str  # multi-element-query
    severity: Severity
    message: str  # what is wrong
    why: str  # what happens in a cluster
    fix: str  # what to write instead
    place: Place
    about: str = ""  # the object: ScaledObject vllm-llama3-scaledobject


@dataclass(frozen=True, slots=True)
class Subject:
    """An application that something scales, with its queries parsed."""

    application: Application
    scaling: ScalingSpec
    manifest: Manifest  # the ScaledObject
    bundle: Bundle
    queries: tuple[Query, ...]

    @property
    def scales_to_zero(self) -> bool:
        """Whether KEDA may take it to zero."""
        return self.scaling.min_replicas == 0 or self.scaling.idle_replica_count == 0

    def place(self, *path: str | int, key: bool = False) -> Place:
        """Where the user wrote what stands at *path* below ``spec`` of the ScaledObject."""
        return self.manifest.place("spec", *path, key=key)

    def is_written(self, *path: str | int) -> bool:
        """Whether the user wrote it, or it is a default."""
        return self.manifest.origin.exists(("spec", *path))

    def finding(
        self, rule: str, severity: Severity, text: tuple[str, str, str], place: Place
    ) -> Finding:
        """A finding about this ScaledObject; *text* is message, why and fix."""
        return Finding(rule, severity, *text, place, f"ScaledObject {self.scaling.name}")


@dataclass(frozen=True, slots=True)
class Query:
    """The PromQL of one trigger. ``tree`` is None where it cannot be parsed; ``error`` says why."""

    trigger: TriggerSpec
    text: str
    tree: promql_parser.Expr | None
    error: str = ""


Rule = Callable[[Subject], Iterator[Finding]]
