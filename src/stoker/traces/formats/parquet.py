"""Traces as Parquet: columns time, prompt_tokens, completion_tokens, and model, key where known."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from stoker.errors import InputError, MachineError, Place
from stoker.traces.formats.base import Format, Source
from stoker.traces.rows import Rows

MAGIC = b"PAR1"
NEEDED = ("time", "prompt_tokens", "completion_tokens")
_TEXTS = ("model", "key")
_ROWS = 65_536


def parquet_library() -> Any:
    """The library, which is an extra.

    Raises:
        MachineError: it is not installed.
    """
    try:
        import pyarrow.parquet as library  # noqa: PLC0415 - an extra
    except ImportError:
        raise MachineError(
            "Parquet needs pyarrow, which is not installed", hint="pip install 'stoker[parquet]'"
        ) from None
    return library


def _knows(path: Path, _head: list[str]) -> bool:
    if path.is_dir():
        return False
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def _rows(source: Source) -> Iterator[Rows]:
    library = parquet_library()
    try:
        file = library.ParquetFile(source.path)
    except (OSError, ValueError) as error:
        raise InputError(f"not a Parquet file: {error}", place=Place(str(source.path))) from None
    with file:
        names = file.schema_arrow.names
        if missing := [name for name in NEEDED if name not in names]:
            raise InputError(
                f"no column `{missing[0]}`: the file has {', '.join(names)}",
                place=Place(str(source.path)),
                hint=f"a trace has the columns {', '.join(NEEDED)}",
            )
        wanted = [*NEEDED, *(name for name in _TEXTS if name in names)]
        first = 1
        for batch in file.iter_batches(batch_size=_ROWS, columns=wanted):
            yield _of_batch(batch, first, source)
            first += batch.num_rows


def _of_batch(batch: Any, first: int, source: Source) -> Rows:
    def numbers(name: str) -> np.ndarray:
        try:
            column = batch.column(name).to_numpy(zero_copy_only=False)
            return np.asarray(column, np.float64)  # a missing value becomes NaN
        except (TypeError, ValueError):
            raise InputError(
                f"column `{name}` has no numbers", place=Place(str(source.path))
            ) from None

    def texts(name: str) -> list[str] | None:
        if name not in batch.schema.names:
            return None
        column = batch.column(name)
        if column.null_count == len(column):
            return None
        return ["" if text is None else str(text) for text in column.to_pylist()]

    lines = np.arange(first, first + batch.num_rows, dtype=np.int64)
    times, prompts, outputs = (numbers(name) for name in NEEDED)
    return Rows(lines, times, prompts, outputs, models=texts("model"), keys=texts("key"))


FORMATS = (Format("parquet", f"Parquet with {', '.join(NEEDED)} (Stoker's own)", _knows, _rows),)
