"""Writing of traffic in Stoker's own formats: JSON lines (also ``.gz``) and Parquet."""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from stoker.errors import InputError, Place
from stoker.traces.arrivals import Arrivals, Counts
from stoker.traces.formats.parquet import parquet_library

SUFFIXES = (".jsonl", ".jsonl.gz", ".parquet")


def write(chunks: Iterable[Arrivals], path: Path) -> int:
    """All requests into a file; its ending says how. Returns how many they were.

    The file appears when it is whole: an error on the way leaves what was there before.

    Raises:
        InputError: the ending is unknown, or the file cannot be written.
    """
    if not path.name.endswith(SUFFIXES):
        raise InputError(
            f"cannot write a trace as `{path.suffix or path.name}`",
            place=Place(str(path)),
            hint=f"traces end in {', '.join(SUFFIXES)}",
        )
    part = path.with_name(f".{path.name}.part")
    try:
        with ExitStack() as undo:
            undo.callback(part.unlink, missing_ok=True)
            count = _parquet(chunks, part) if path.suffix == ".parquet" else _lines(chunks, part)
            part.replace(path)
    except OSError as error:
        raise InputError(
            f"cannot write the trace: {error.strerror or error}", place=Place(str(path))
        ) from None
    return count


def lines(arrivals: Arrivals) -> bytes:
    """Requests as JSON lines, with the fields that are known."""
    columns: list[tuple[str, Iterable[Any]]] = [
        ("time", arrivals.times.tolist()),
        ("prompt_tokens", arrivals.prompt_tokens.tolist()),
        ("completion_tokens", arrivals.output_tokens.tolist()),
    ]
    if arrivals.models is not None:
        columns.append(("model", [arrivals.model_names[at] for at in arrivals.models.tolist()]))
    if arrivals.keys is not None:
        columns.append(("key", [arrivals.key_names[at] for at in arrivals.keys.tolist()]))
    if (blocks := arrivals.blocks) is not None:
        columns.append(("block_size", [blocks.block_size] * len(arrivals)))
        columns.append(("hash_ids", [blocks.of(at).tolist() for at in range(len(arrivals))]))
    names = [name for name, _ in columns]
    rows = zip(*(values for _, values in columns), strict=True)
    return b"".join(
        orjson.dumps(dict(zip(names, row, strict=True)), option=orjson.OPT_APPEND_NEWLINE)
        for row in rows
    )


def _lines(chunks: Iterable[Arrivals], path: Path) -> int:
    count = 0
    with path.open("wb") as raw, ExitStack() as stack:
        file: BinaryIO = raw
        if ".gz" in path.suffixes:
            # no name and no time inside, so that the same trace is the same file
            zipped = gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0)
            file = stack.enter_context(zipped)  # type: ignore[assignment]
        for chunk in chunks:
            file.write(lines(chunk))
            count += len(chunk)
    return count


def _parquet(chunks: Iterable[Arrivals], path: Path) -> int:
    library = parquet_library()
    import pyarrow as pa  # noqa: PLC0415 - an extra, whose absence has been told

    schema = pa.schema(
        [
            ("time", pa.float64()),
            ("prompt_tokens", pa.int32()),
            ("completion_tokens", pa.int32()),
            ("model", pa.string()),
            ("key", pa.string()),
        ]
    )
    count = 0
    with library.ParquetWriter(path, schema) as writer:
        for chunk in chunks:
            if chunk.blocks is not None:
                raise InputError(
                    "Parquet has no place for the blocks of prompts",
                    hint="write a .jsonl or .jsonl.gz",
                )
            columns = [
                chunk.times,
                chunk.prompt_tokens,
                chunk.output_tokens,
                _texts(chunk.models, chunk.model_names, len(chunk)),
                _texts(chunk.keys, chunk.key_names, len(chunk)),
            ]
            arrays = [
                pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)
            ]
            writer.write_batch(pa.record_batch(arrays, schema=schema))
            count += len(chunk)
    return count


def _texts(column: Counts | None, names: tuple[str, ...], count: int) -> list[str | None]:
    return [None] * count if column is None else [names[at] for at in column.tolist()]
