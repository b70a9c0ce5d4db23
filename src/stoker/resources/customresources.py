"""Custom resources whose controllers make Deployments: those of KServe and of production-stack."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from stoker.errors import InputError
from stoker.resources.document import Manifest
from stoker.resources.kserve import KServeReader
from stoker.resources.kserve.reader import KINDS as KSERVE_KINDS
from stoker.resources.translation import Translation

KINDS: Final = KSERVE_KINDS


class CustomResources:
    """Collects custom resources; translated last, for they refer to documents that come later."""

    def __init__(self, namespace: str, *, as_kserve: bool = False) -> None:
        self._kserve = KServeReader(namespace, as_kserve)

    @property
    def errors(self) -> list[InputError]:
        """What is wrong; complete when the translations have been taken."""
        return [*self._kserve.errors]

    def read(self, manifest: Manifest) -> bool:
        """One document. False: it is none of these."""
        return self._kserve.read(manifest)

    def translations(self) -> Iterator[Translation]:
        """What the controllers make of each, in the order of the documents."""
        yield from self._kserve.translations()
