"""What a custom resource becomes: the objects that its controller would create, with places.

An InferenceService, an LLMInferenceService and a VLLMRuntime are translated name for name into
Deployments, ScaledObjects and Services. What the controller silently leaves out of them is kept as
:class:`Ignored`, so that it can be told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stoker.errors import InputError, Place
from stoker.resources.document import Manifest, Origin, Path

UNKNOWN_FIELD = "unknown-field"


@dataclass(frozen=True, slots=True)
class Ignored:
    """A field that a cluster accepts and then takes no notice of."""

    rule: str  # target-type-ignored
    message: str  # what is ignored
    why: str  # who ignores it, and what happens instead
    fix: str  # what to write
    place: Place
    about: str  # InferenceService huggingface-qwen


def unknown_field(error: InputError, why: str, about: str) -> Ignored:
    """A field that nobody reads, from the error that it would be elsewhere."""
    fix = error.hint or "take it out, or look for the name that was meant"
    place = error.place or Place("")
    return Ignored(UNKNOWN_FIELD, error.message, why, fix, place, about)


@dataclass(frozen=True, slots=True)
class Translation:
    """The objects that a controller makes of one custom resource.

    ``deployment`` is None where there is none to run, for the reason in ``skipped``. At most one of
    ``scaled_object`` and ``autoscaler`` (a plain HorizontalPodAutoscaler) is there.
    """

    source: Manifest
    deployment: Manifest | None = None
    scaled_object: Manifest | None = None
    autoscaler: Manifest | None = None
    others: tuple[Manifest, ...] = ()
    ignored: tuple[Ignored, ...] = ()
    skipped: str = ""

    @property
    def objects(self) -> tuple[Manifest, ...]:
        """All of them."""
        scalers = (self.deployment, self.scaled_object, self.autoscaler)
        return (*(one for one in scalers if one is not None), *self.others)

    @property
    def name(self) -> str:
        """``InferenceService huggingface-qwen``, as people call it."""
        return f"{self.source.kind} {self.source.name}"


@dataclass(frozen=True, slots=True)
class Written:
    """Turns a path in a translated object into the path in the resource that it was made of.

    The table has the beginning of a path in the object, and what stands in its place; the longest
    beginning counts, and what follows it is kept. What none begins stands nowhere: its path ends
    below ``default``, whose place it gets.
    """

    table: tuple[tuple[Path, Path], ...]
    default: Path = ()

    def __call__(self, path: Path) -> Path:
        """The path as written."""
        best: tuple[Path, Path] | None = None
        for beginning, written in self.table:
            if path[: len(beginning)] == beginning and (
                best is None or len(beginning) > len(best[0])
            ):
                best = beginning, written
        if best is None:
            return (*self.default, *(path[1:] if path[:1] == ("spec",) else path))
        return (*best[1], *path[len(best[0]) :])


def translated(
    source: Manifest,
    content: Mapping[str, Any],
    table: Sequence[tuple[Path, Path]] = (),
    default: Path = (),
) -> Manifest:
    """An object made of *source*, its places found through *table*."""
    written = Written(tuple(table), default)
    outer = source.origin.written

    def in_file(path: Path) -> Path:
        return outer(written(path))

    return Manifest(content, Origin(source.origin.document, in_file))
