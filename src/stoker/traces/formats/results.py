"""Outputs of load generators, where they say when each request was sent.

* ``vllm bench serve --save-result --save-detailed``: ``start_times``, ``input_lens``,
  ``output_lens``.
* GuideLLM's JSON report: each request of ``benchmarks[].requests`` with ``request_start_time``,
  ``prompt_tokens``, ``output_tokens``. Requests that failed or were cut off have what is known.
* aiperf's ``profile_export.jsonl``: ``metadata.request_start_ns``, and the metrics
  ``input_sequence_length`` and ``output_sequence_length``. Requests of its warm-up are left out.

They are listed as they ended; here they are sorted by their start, which becomes 0 s.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from stoker.errors import InputError, Place
from stoker.traces.formats.base import Format, Source
from stoker.traces.formats.jsonlines import has, records
from stoker.traces.rows import Rows, opened, unreadable

_HEAD = 65_536  # characters in which a report names its kind
Request = tuple[float, float, float]  # start in seconds, prompt tokens, output tokens


def _whole(source: Source) -> dict[str, Any]:
    try:
        with opened(source.path) as file:
            document = json.load(file)
    except json.JSONDecodeError as error:
        raise InputError(
            f"not JSON: {error.msg}", place=Place(str(source.path), error.lineno, error.colno)
        ) from None
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise unreadable(source.path, error) from None
    if not isinstance(document, dict):
        raise InputError("not a report: not a JSON object", place=Place(str(source.path)))
    return document


def _sorted_rows(requests: list[Request], source: Source) -> Iterator[Rows]:
    if not requests:
        return
    table = np.array(sorted(requests), np.float64)
    if not np.isfinite(table[:, 0]).all():
        raise InputError("a start is not a number", place=Place(str(source.path)))
    source.notes.append("sorted by the start of requests, which is 0 s for the first")
    numbers = np.arange(1, len(table) + 1, dtype=np.int64)
    yield Rows(numbers, table[:, 0] - table[0, 0], table[:, 1], table[:, 2])


def _vllm(source: Source) -> Iterator[Rows]:
    document = _whole(source)
    columns = [document.get(name) for name in ("start_times", "input_lens", "output_lens")]
    if not all(isinstance(column, list) for column in columns):
        raise InputError(
            "this result does not say when requests were sent",
            place=Place(str(source.path)),
            hint="run `vllm bench serve` with --save-result --save-detailed (0.11 or newer)",
        )
    try:
        requests = [
            (float(start), float(prompt), float(output))
            for start, prompt, output in zip(*columns, strict=True)
        ]
    except (TypeError, ValueError):
        raise InputError(
            "start_times, input_lens and output_lens do not match", place=Place(str(source.path))
        ) from None
    yield from _sorted_rows(requests, source)


def _guidellm(source: Source) -> Iterator[Rows]:
    runs = _whole(source)["benchmarks"]
    if len(runs) > 1:
        source.notes.append(f"{len(runs)} benchmarks one after the other, as they were run")
    requests, unknown = [], 0
    for run in runs:
        for request in _guidellm_requests(run):
            start = request.get("request_start_time", request.get("start_time"))
            prompt = request.get("prompt_tokens")
            if start is None or prompt is None:
                unknown += 1
                continue
            requests.append((float(start), float(prompt), float(request.get("output_tokens") or 0)))
    if unknown:
        source.notes.append(f"left out {unknown} requests without a start or a length")
    yield from _sorted_rows(requests, source)


def _guidellm_requests(run: Any) -> Iterable[dict[str, Any]]:
    groups = run.get("requests") if isinstance(run, dict) else None
    if not isinstance(groups, dict):
        return
    for kind in ("successful", "incomplete", "errored"):
        yield from groups.get(kind) or ()


def _aiperf(source: Source) -> Iterator[Rows]:
    requests, warmup, unknown = [], 0, 0
    for _, found in records(source, ("metadata",)):
        for record in found:
            metadata, metrics = record["metadata"], record.get("metrics") or {}
            if metadata.get("benchmark_phase") == "warmup":
                warmup += 1
                continue
            start = metadata.get("request_start_ns")
            prompt = _value(metrics, "input_sequence_length", "error_isl")
            if start is None or prompt is None:
                unknown += 1
                continue
            output = _value(metrics, "output_sequence_length") or 0.0
            requests.append((start / 1e9, prompt, output))
    if warmup:
        source.notes.append(f"left out {warmup} requests of the warm-up")
    if unknown:
        source.notes.append(f"left out {unknown} requests without a start or a length")
    yield from _sorted_rows(requests, source)


def _value(metrics: dict[str, Any], *names: str) -> float | None:
    for name in names:
        metric = metrics.get(name)
        value = metric.get("value") if isinstance(metric, dict) else metric
        if isinstance(value, int | float):
            return float(value)
    return None


def _mentions(*names: str) -> Any:
    def knows(_path: Path, head: list[str]) -> bool:
        text = "".join(head)[:_HEAD]
        return text.lstrip().startswith("{") and all(f'"{name}"' in text for name in names)

    return knows


FORMATS = (
    Format(
        "aiperf",
        "JSON lines with metadata.request_start_ns (aiperf's profile_export.jsonl)",
        has("metadata", "metrics"),
        _aiperf,
    ),
    Format(
        "guidellm", "a JSON report with benchmarks (GuideLLM)", _mentions("benchmarks"), _guidellm
    ),
    Format(
        "vllm",
        "a JSON result with start_times, input_lens, output_lens (vllm bench serve)",
        _mentions("num_prompts", "model_id"),
        _vllm,
    ),
)
