"""What became of each request, as a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from stoker.errors import InputError, MachineError
from stoker.replay.run import Run
from stoker.simulator.fleet import state as at

_SUFFIXES = (".parquet", ".csv")
_TIMES = {
    "arrived": at.T_ARRIVED,
    "sent": at.T_SENT,
    "scheduled": at.T_SCHEDULED,
    "first_token": at.T_FIRST,
    "ended": at.T_LAST,
}
_NUMBERS = {
    "prompt_tokens": at.Q_PROMPT,
    "output_tokens": at.Q_OUTPUT,
    "cached_tokens": at.Q_CACHED,
    "preemptions": at.Q_PREEMPTED,
    "retries": at.Q_RETRIES,
}


def check_requests_file(path: Path) -> None:
    """Raise an error before the run for what could not be written after it."""
    if path.suffix.lower() not in _SUFFIXES:
        raise InputError(f"--requests {path}: write a .parquet or a .csv")
    if path.suffix.lower() == ".parquet":
        try:
            import pyarrow as pa  # noqa: F401, PLC0415
        except ImportError:
            raise MachineError(
                "Parquet needs pyarrow", hint="pip install 'stoker[parquet]', or write a .csv"
            ) from None


def columns_of(run: Run) -> dict[str, np.ndarray[Any, Any]]:
    """A column a property. Times in seconds since the start of the run, NaN: it did not happen."""
    s = run.fleet.state
    names = np.array([model.engine.workload.model for model in run.models])
    columns: dict[str, np.ndarray[Any, Any]] = {"model": names[s.request[:, at.Q_APP]]}
    columns |= {name: s.times[:, column] for name, column in _TIMES.items()}
    columns |= {name: s.request[:, column] for name, column in _NUMBERS.items()}
    columns["status"] = np.array(at.STATUSES)[s.request[:, at.Q_STATUS]]
    return columns


def write_requests(run: Run, path: Path) -> None:
    """Write all requests of a run that is over."""
    columns = columns_of(run)
    if path.suffix.lower() == ".parquet":
        import pyarrow as pa  # noqa: PLC0415
        from pyarrow import parquet  # noqa: PLC0415

        arrays = {
            name: pa.array(column, from_pandas=column.dtype.kind == "f")
            for name, column in columns.items()
        }
        parquet.write_table(pa.table(arrays), path)
        return
    with path.open("w", encoding="utf-8") as file:
        print(",".join(columns), file=file)
        for row in zip(*(column.tolist() for column in columns.values()), strict=True):
            print(",".join(_cell(value) for value in row), file=file)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "" if value != value else repr(round(value, 9))  # noqa: PLR0124 - NaN
    text = str(value)
    return f'"{text}"' if "," in text else text
