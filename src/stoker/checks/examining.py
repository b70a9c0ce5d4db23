"""All findings about some files, as `stoker check` tells them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from stoker.checks.base import Finding, Versions
from stoker.checks.comments import Ignored
from stoker.checks.live import Source, examine_live
from stoker.checks.refusals import from_reading
from stoker.checks.registry import check, codes
from stoker.errors import InputError
from stoker.resources.bundle import Reading
from stoker.resources.validation import did_you_mean


@dataclass(frozen=True, slots=True)
class Selection:
    """Which codes are wanted. ``select`` empty: all. Refusals that end everything always are."""

    select: frozenset[str] = frozenset()
    ignore: frozenset[str] = frozenset()

    @classmethod
    def of(cls, select: Iterable[str], ignore: Iterable[str]) -> Selection:
        """From flags, each a code or several with commas between.

        Raises:
            InputError: there is no such code.
        """
        return cls(frozenset(_split("--select", select)), frozenset(_split("--ignore", ignore)))

    def wants(self, finding: Finding) -> bool:
        """Whether *finding* is to be told."""
        if finding.code == "unreadable":
            return True
        return (not self.select or finding.code in self.select) and finding.code not in self.ignore


def _split(flag: str, values: Iterable[str]) -> list[str]:
    named = [code.strip() for value in values for code in value.split(",") if code.strip()]
    for code in named:
        known_code(code, flag)
    return named


def known_code(code: str, where: str) -> str:
    """*code*, if there is one of that name. Raises InputError with the near one."""
    if code not in codes():
        hint = did_you_mean(code, codes()) or "`stoker check --explain all` lists them"
        raise InputError(f"{where}: there is no rule `{code}`", hint=hint)
    return code


def examine(
    reading: Reading,
    selection: Selection | None = None,
    versions: Versions | None = None,
    live: Source | None = None,
) -> tuple[Finding, ...]:
    """What the files refuse, what the rules find, without what the user does not want to hear.

    *live* is a Prometheus that runs: it is asked the queries of the files.
    """
    selection = selection or Selection()
    ignored = Ignored.read(reading.bundle.documents)
    found = (*from_reading(reading), *check(reading.bundle, versions))
    if live is not None:
        found = (*found, *examine_live(reading.bundle, live))
    wanted = (item for item in found if selection.wants(item) and not ignored.covers(item))
    return tuple(sorted(set(wanted), key=lambda finding: finding.order))
