"""The work of ``stoker calibrate``: sweep, fit, print, write."""

from __future__ import annotations

import asyncio
import json
import math
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from itertools import islice
from typing import Any

from stoker.errors import ConflictError, InputError
from stoker.load.arrivals import at_once
from stoker.load.runner import Plan, run
from stoker.metrics.exposition import PageParser
from stoker.reports import calibration_plot
from stoker.reports.plot import check_plot_file
from stoker.simulator.calibration import Fit, Point, fit, refined
from stoker.simulator.engine import Limits
from stoker.simulator.profiles import EngineProfile, write_profile

Flags = Mapping[str, Any]
_GIB = 1024**3
_KV_BYTES = 131_072  # nominal: only how many tokens fit is known
_UTILIZATION = 0.92  # vLLM's own; what was measured is taken to be with it
_BLOCK = 16  # tokens; what counts is how many fit
_SHORTEST = 1e-4  # seconds between tokens: no engine is so fast, only what collects its answers
_CACHE = "vllm:cache_config_info"


def run_calibration(url: str, flags: Flags) -> None:
    """Measure and write. Raises StokerError."""
    batches = _numbers("--concurrency", flags["concurrency"])
    prompts = _numbers("--prompt-tokens", flags["prompt_tokens"])
    if len(batches) * len(prompts) < 4 or 1 not in batches:
        raise InputError(
            "four numbers are fitted: the sweep needs four points, and concurrency 1 among them",
            hint="--concurrency 1,4,16,32 --prompt-tokens 128,2048",
        )
    if flags["plot"]:
        check_plot_file(flags["plot"])
    url = url.rstrip("/")
    model, longest = _model(url, flags)
    tokens = _cache_tokens(url, flags)
    points = []
    for prompt in prompts:
        for batch in batches:
            points.append(_measure(url, model, batch, prompt, flags))
            print(f"{batch} at once, {prompt} tokens: {points[-1].tpot:.2f} ms", file=sys.stderr)
    limits = Limits(
        flags["max_num_seqs"],
        flags["max_num_batched_tokens"],
        min(longest, tokens - _BLOCK),
        tokens // _BLOCK,
    )
    found = fit(points, flags["max_num_batched_tokens"])
    found = refined(found, points, limits, flags["rounds"])
    profile = _profile(model, found, tokens, limits.max_model_len, flags)
    write_profile(profile, flags["output"])
    if flags["plot"]:
        calibration_plot.plot(model, points, found, flags["plot"])
    print(_table(points, found))
    print(f"\n{profile.source}\n{tokens:,} tokens in the KV cache\nprofile: {flags['output']}")
    if flags["plot"]:
        print(f"picture: {flags['plot']}")


def _numbers(name: str, text: str) -> list[int]:
    try:
        found = sorted({int(part) for part in text.split(",")})
    except ValueError:
        found = []
    if not found or found[0] < 1:
        raise InputError(f"`{name} {text}`: write whole numbers with commas between: 1,4,16")
    return found


def _get(url: str, path: str, flags: Flags) -> str:
    key = flags["api_key"]
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    if not url.startswith(("http://", "https://")):
        raise InputError(f"`{url}` is not an address", hint="http://localhost:8000")
    request = urllib.request.Request(url + path, headers=headers)  # noqa: S310 - checked above
    try:
        with urllib.request.urlopen(request, timeout=10.0) as answer:  # noqa: S310
            text: str = answer.read().decode("utf-8", "replace")
            return text
    except urllib.error.HTTPError as error:
        raise ConflictError(
            f"{url}{path} answers {error.code} {error.reason}",
            hint="is this the address of a vLLM server, without /v1?",
        ) from None
    except OSError as error:
        cause = error.reason if isinstance(error, urllib.error.URLError) else error
        reason = getattr(cause, "strerror", None) or str(cause)
        raise ConflictError(
            f"no answer from {url}: {reason}", hint="does the engine run there?"
        ) from None


def _model(url: str, flags: Flags) -> tuple[str, int]:
    """Its name, and the longest request that it takes."""
    try:
        models = {one["id"]: one for one in json.loads(_get(url, "/v1/models", flags))["data"]}
    except (ValueError, KeyError, TypeError):
        raise ConflictError(f"{url}/v1/models does not answer as an OpenAI server does") from None
    name = str(flags["model"] or next(iter(models), ""))
    if name not in models:
        raise InputError(f"no model `{name}` there", hint=f"there is {', '.join(sorted(models))}")
    return name, int(models[name].get("max_model_len") or 2**31)


def _cache_tokens(url: str, flags: Flags) -> int:
    for labels, _, _ in PageParser(url).lines(_get(url, "/metrics", flags)):
        if labels.name == _CACHE:
            blocks, size = labels.get("num_gpu_blocks"), labels.get("block_size")
            if blocks.isdigit() and size.isdigit():
                return int(blocks) * int(size)
    raise ConflictError(
        f"{url}/metrics does not say how large the KV cache is",
        hint=f"{_CACHE} with num_gpu_blocks is vLLM's; is this another server, or a gateway?",
    )


def _measure(url: str, model: str, batch: int, prompt: int, flags: Flags) -> Point:
    """One point of the sweep."""
    output, total = flags["output_tokens"], batch * flags["rounds"]
    plan = Plan(
        arrivals=islice(at_once(prompt, output), total),
        concurrency=batch,
        models=(model,),
        ignore_eos=True,
        api_key=flags["api_key"],
        total=total,
    )
    report = asyncio.run(run(plan, url))
    first, gaps = report.ttft, report.inter_token_latency
    if report.failed or first is None or gaps is None:
        why = report.errors[0] if report.errors else "no tokens came"
        raise ConflictError(
            f"{report.failed} of {report.requests} requests failed at {batch} at once: {why}",
            hint="a smaller --concurrency or --prompt-tokens",
        )
    if gaps.mean < _SHORTEST or first.mean < _SHORTEST:
        raise ConflictError(
            "tokens come all at once: there is no time between them to measure",
            hint="an engine that streams; is something in between that collects its answers?",
        )
    return Point(
        batch,
        round(report.input_tokens / report.ok),
        round(report.output_tokens / report.ok),
        first.mean * 1000,
        gaps.mean * 1000,
    )


def _profile(model: str, found: Fit, tokens: int, longest: int, flags: Flags) -> EngineProfile:
    memory = tokens * _KV_BYTES / _GIB / _UTILIZATION
    return EngineProfile(
        name=flags["output"].stem,
        weights_ms=found.weights_ms,
        prefill_token_ms=found.prefill_token_ms,
        decode_sequence_ms=found.decode_sequence_ms,
        kv_token_ms=found.kv_token_ms,
        gpu_memory_gib=math.ceil(memory * 1e6) / 1e6,
        model_memory_gib=0.0,
        kv_bytes_per_token=_KV_BYTES,
        max_model_len=longest,
        max_num_seqs=flags["max_num_seqs"],
        max_num_batched_tokens=flags["max_num_batched_tokens"],
        startup=flags["startup"],
        gpus=flags["gpus"],
        source=f"`stoker calibrate` of {model}: time per token {100 * found.mean_error:.1f} % off "
        f"on average, {100 * found.largest_error:.1f} % at most",
    )


def _table(points: list[Point], found: Fit) -> str:
    lines = ["AT ONCE  PROMPT  OUTPUT       TTFT  PER TOKEN     FITTED    OFF"]
    for point, predicted in zip(points, found.predicted, strict=True):
        off = 100 * (predicted / point.tpot - 1)
        lines.append(
            f"{point.concurrency:>7}  {point.prompt_tokens:>6}  {point.output_tokens:>6}  "
            f"{point.ttft:>6.1f} ms  {point.tpot:>6.2f} ms  {predicted:>6.2f} ms  {off:+4.1f} %"
        )
    return "\n".join(lines)
