"""Custom resources whose controllers make Deployments: those of KServe and of production-stack."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from stoker.errors import InputError
from stoker.resources.document import Manifest
from stoker.resources.kserve import KServeReader
from stoker.resources.kserve.reader import KINDS as KSERVE_KINDS
from stoker.resources.operator import RuntimeReader
from stoker.resources.translation import Translation

KINDS: Final = (*KSERVE_KINDS, "VLLMRuntime")


class CustomResources:
    """Collects custom resources; translated last, for they refer to documents that come later."""

    def __init__(self, namespace: str, *, as_kserve: bool = False) -> None:
        self._readers = (KServeReader(namespace, as_kserve), RuntimeReader(namespace))

    @property
    def errors(self) -> list[InputError]:
        """What is wrong; complete when the translations have been taken."""
        return [error for reader in self._readers for error in reader.errors]

    def read(self, manifest: Manifest) -> bool:
        """One document. False: it is none of these."""
        return any(reader.read(manifest) for reader in self._readers)

    def translations(self) -> Iterator[Translation]:
        """What the controllers make of each, those of a controller in the order of the files."""
        for reader in self._readers:
            yield from reader.translations()
