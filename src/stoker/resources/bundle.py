"""Everything that the user's files say, read together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TextIO

from stoker.errors import InputError, InputErrors, Place
from stoker.resources.contents import Application, Bundle, Reading, Skipped, Unattached
from stoker.resources.document import Document
from stoker.resources.horizontalrules import DEFAULT_KUBERNETES
from stoker.resources.joining import Options, Reader, position
from stoker.resources.loading import load_documents

__all__ = ["Application", "Bundle", "Reading", "Skipped", "Unattached", "inspect", "load"]


def load(
    paths: Sequence[str],
    *,
    release: str = "vllm",
    namespace: str = "default",
    kubernetes_version: str = DEFAULT_KUBERNETES,
    stdin: TextIO | None = None,
    as_kserve: bool = False,
) -> Bundle:
    """Read files, directories and ``-``.

    Args:
        paths: see :func:`stoker.resources.loading.load_documents`.
        release: the Helm release that values belong to.
        namespace: of objects that name none.
        kubernetes_version: of the cluster that would take or refuse the objects.
        stdin: what ``-`` reads.
        as_kserve: ignore what KServe's controller ignores in an InferenceService.

    Raises:
        InputErrors: everything that is wrong in all documents, in the order of places.
    """
    documents, unreadable = load_documents(paths, stdin)
    options = Options(release, namespace, kubernetes_version, as_kserve)
    reader = _read(documents, options)
    errors = [*unreadable, *reader.errors, *reader.missing]
    if not errors and not reader.applications:
        errors.append(_nothing(paths, reader))
    if errors:
        raise InputErrors(sorted(errors, key=_order))
    return reader.bundle(documents)


def inspect(
    paths: Sequence[str],
    *,
    release: str = "vllm",
    namespace: str = "default",
    kubernetes_version: str = DEFAULT_KUBERNETES,
    stdin: TextIO | None = None,
    as_kserve: bool = False,
) -> Reading:
    """Read as :func:`load` does, and keep what is right beside what is wrong.

    A ScaledObject may stand alone here: its target can be in the cluster already.
    """
    documents, unreadable = load_documents(paths, stdin)
    options = Options(release, namespace, kubernetes_version, as_kserve)
    reader = _read(documents, options)
    return Reading(
        reader.bundle(documents),
        tuple(sorted(unreadable, key=_order)),
        tuple(sorted(reader.errors, key=_order)),
    )


def _read(documents: Iterable[Document], options: Options) -> Reader:
    reader = Reader(options)
    for document in documents:
        reader.read(document)
    reader.finish()
    return reader


def _order(error: InputError) -> tuple[str, int, int, str]:
    return *position(error.place or Place("")), error.message


def _nothing(paths: Sequence[str], reader: Reader) -> InputError:
    """There is nothing to run; the hint says why, as far as it is known."""
    told = [f"{item.what}: {item.reason}" for item in reader.skipped]
    told += [f"{item.message}, {item.fix}" for item in reader.ignored]
    expected = (
        "expected production-stack values with a modelSpec, an InferenceService, or a Deployment "
        "that runs vLLM"
    )
    more = f"; and {len(told) - 3} more" if len(told) > 3 else ""
    found = ", ".join(sorted({item.what for item in reader.skipped}))
    return InputError(
        "no model server in these files" + (f", only {found}" if found else ""),
        hint="; ".join(told[:3]) + more if told else expected,
        place=Place(paths[0]) if len(paths) == 1 else None,
    )
