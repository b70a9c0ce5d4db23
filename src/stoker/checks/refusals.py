"""Findings that come from reading the files: what is refused, missing or not looked at."""

from __future__ import annotations

from collections.abc import Iterator

from stoker.checks.base import Finding, Severity
from stoker.errors import InputError, Place
from stoker.resources.bundle import Reading


def from_reading(reading: Reading) -> Iterator[Finding]:
    """What *reading* says without any rule."""
    for error in reading.unreadable:
        yield _refusal("unreadable", error)
    for error in reading.refused:
        yield _refusal("refused", error)
    for alone in reading.bundle.unattached:
        if alone.deployment is None:
            yield Finding(
                "target-not-in-files",
                Severity.INFO,
                f"the scale target {alone.scaling.target} is not in these files",
                "Rules that compare it with what it scales could not be asked",
                "name the file of the Deployment too",
                alone.manifest.place("spec", "scaleTargetRef", "name"),
                f"ScaledObject {alone.scaling.name}",
            )
    for skipped in reading.bundle.skipped:
        yield Finding(
            "not-read", Severity.INFO, f"not looked at: {skipped.reason}", "", "", skipped.place,
            skipped.what,
        )  # fmt: skip


def _refusal(code: str, error: InputError) -> Finding:
    place = error.place or Place("")
    return Finding(code, Severity.ERROR, error.message, "", error.hint or "", place)
