"""A storage on disk, so that a restart keeps the windows of ``rate(...[5m])``.

Two files: ``samples.npz`` with all columns one after the other, and ``series.json`` with the label
sets, where each begins, and metadata. A snapshot that does not fit itself is refused as a whole.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import numpy as np

from stoker.errors import InputError, Place
from stoker.metrics.exposition import Metadata
from stoker.metrics.sample import Labels
from stoker.metrics.series import Series
from stoker.metrics.storage import Storage

_VERSION: Final = 1
_SAMPLES: Final = "samples.npz"
_SERIES: Final = "series.json"


def save(storage: Storage, directory: Path) -> None:
    """Write a snapshot of a storage that nobody writes to meanwhile."""
    write(storage.find(()).series, storage.metadata, directory)


def write(series: Iterable[Series], metadata: Mapping[str, Metadata], directory: Path) -> None:
    """Write a snapshot. Both files are replaced at once or not at all, the JSON last."""
    directory.mkdir(parents=True, exist_ok=True)
    series = list(series)
    lengths = [len(one) for one in series]
    samples = directory / f"{_SAMPLES}.new"
    with samples.open("wb") as file:
        np.savez(
            file,
            times_ms=np.concatenate([one.times_ms for one in series] or [np.empty(0, np.int64)]),
            values=np.concatenate([one.values for one in series] or [np.empty(0)]),
        )
    description = directory / f"{_SERIES}.new"
    document = {
        "version": _VERSION,
        "lengths": lengths,
        "labels": [one.labels.as_dict() for one in series],
        "metadata": {name: [meta.type, meta.help, meta.unit] for name, meta in metadata.items()},
    }
    description.write_text(json.dumps(document), encoding="utf-8")
    os.replace(samples, directory / _SAMPLES)  # noqa: PTH105 - atomic, and says so
    os.replace(description, directory / _SERIES)  # noqa: PTH105


def load(storage: Storage, directory: Path) -> int:
    """Put a snapshot into an empty storage. Returns how many series; 0 if there is no snapshot.

    Raises InputError if the files are damaged or do not belong together.
    """
    if not (directory / _SERIES).exists():
        return 0
    place = Place(str(directory))
    try:
        document = json.loads((directory / _SERIES).read_text(encoding="utf-8"))
        with (
            (directory / _SAMPLES).open("rb") as file,
            np.load(file, allow_pickle=False) as columns,
        ):
            times_ms, values = columns["times_ms"], columns["values"]
        lengths, labels = document["lengths"], [Labels(one) for one in document["labels"]]
        metadata = {name: Metadata(*fields) for name, fields in document["metadata"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise InputError(f"damaged metrics snapshot: {error}", place=place) from error
    if document.get("version") != _VERSION or not sum(lengths) == len(times_ms) == len(values):
        raise InputError("metrics snapshot of another version, or torn", place=place)
    ends = np.cumsum(lengths)
    for one, length, end in zip(labels, lengths, ends, strict=True):
        window = slice(int(end) - length, int(end))
        storage.restore(one, times_ms[window].copy(), values[window].copy())
    storage.metadata.update(metadata)
    return len(labels)
