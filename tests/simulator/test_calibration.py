"""The model against sweeps that others have measured on real GPUs."""

import csv
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from stoker.simulator.calibration import Point, fit, knees, throughput_error
from stoker.simulator.engine import Engine, Limits, Request
from stoker.simulator.profiles import PROFILES, profile

DATA = Path(__file__).parent.parent / "data" / "calibration" / "llama-3.1-70b-fp8-h100.csv"


@dataclass(frozen=True)
class Row:
    tensor_parallel: int
    concurrency: int
    prompt_tokens: int
    output_tokens: int
    ttft: float  # seconds
    tpot: float

    @property
    def throughput(self) -> float:
        """Output tokens a second."""
        one = self.ttft + self.tpot * (self.output_tokens - 1)
        return self.concurrency * self.output_tokens / one


def rows():
    with DATA.open() as lines:
        return [
            Row(
                int(row["tensor_parallel"]),
                int(row["concurrency"]),
                int(row["prompt_tokens"]),
                int(row["output_tokens"]),
                float(row["ttft_ms"]) / 1000,
                float(row["tpot_ms"]) / 1000,
            )
            for row in csv.DictReader(lines)
        ]


def modelled(row: Row, rounds: int = 4) -> Row:
    """The same concurrency kept up for some rounds: the next request comes when one has ended."""
    engine_profile = profile(f"llama-3.1-70b-fp8-h100-tp{row.tensor_parallel}")
    limits = replace(Limits.of(engine_profile), max_model_len=16_384)
    engine = Engine(engine_profile, limits)
    left = row.concurrency * rounds
    ends, first, per_token = [], [], []

    def send(now: float) -> None:
        nonlocal left
        if left:
            left -= 1
            engine.submit(Request(str(left), row.prompt_tokens, row.output_tokens), now)

    for _ in range(row.concurrency):
        send(0.0)
    while (now := engine.next_event()) is not None:
        for event in engine.advance(now):
            if event.finished is not None:
                end = event.finished
                ends.append(end.ended)
                first.append(end.first_token - end.arrived)
                per_token.append((end.last_token - end.first_token) / (row.output_tokens - 1))
                send(now)
    return replace(row, ttft=sum(first) / len(first), tpot=sum(per_token) / len(per_token))


ROOM = [row for row in rows() if row.ttft < 3.0]
FULL = [row for row in rows() if row.ttft >= 3.0]


@pytest.mark.parametrize(
    "row", ROOM, ids=lambda row: f"tp{row.tensor_parallel}-{row.prompt_tokens}-{row.concurrency}"
)
def test_throughput_is_within_10_percent_of_the_measured_one(row):
    """Up to the knee, which is concurrency 64 here, or where the cache is full."""
    found = modelled(row)
    assert found.throughput == pytest.approx(row.throughput, rel=0.10)
    assert found.tpot == pytest.approx(row.tpot, rel=0.12)


@pytest.mark.parametrize("row", FULL, ids=lambda row: f"{row.concurrency}")
def test_the_cache_is_full_where_it_was_full(row):
    """Two GPUs hold 26 requests of 9,216 tokens: 32 at once wait for seconds, 16 do not."""
    assert len(FULL) == 2
    found = modelled(row)
    assert found.ttft > 3.0
    half = modelled(replace(row, concurrency=16))
    assert half.ttft < 3.0


def test_every_profile_of_a_real_engine_names_its_source_and_holds_its_context():
    for one in PROFILES.values():
        if one.name != "tiny":
            assert "%" in one.source
        tokens = one.kv_blocks(0.92, 16) * 16
        assert tokens > one.max_model_len, one.name


def points(tensor_parallel):
    return [
        Point(row.concurrency, row.prompt_tokens, row.output_tokens, row.ttft * 1e3, row.tpot * 1e3)
        for row in ROOM
        if row.tensor_parallel == tensor_parallel
    ]


def held_out(name, rows, tops):
    """How far the knees *tops* are off, each by a fit that has not seen it."""
    engine = profile(name)
    limits = replace(Limits.of(engine), max_model_len=16_384)
    return [
        abs(
            throughput_error(
                fit([row for row in rows if row != knee], 8192), engine, limits, knee, rounds=2
            )
        )
        for knee in tops
    ]


@pytest.mark.parametrize(("tensor_parallel", "most"), [(2, 0.09), (4, 0.11)])
def test_a_knee_that_the_fit_has_not_seen_is_predicted(tensor_parallel, most):
    """Each in turn is left out, and nothing else of this model and these GPUs is known."""
    rows = points(tensor_parallel)
    errors = held_out(f"llama-3.1-70b-fp8-h100-tp{tensor_parallel}", rows, knees(rows))
    assert len(errors) == 2
    assert max(errors) < most


@pytest.mark.parametrize(("tensor_parallel", "most"), [(2, 0.08), (4, 0.11)])
def test_so_are_both_knees_from_lower_concurrencies_alone(tensor_parallel, most):
    rows = points(tensor_parallel)
    tops = knees(rows)
    below = [row for row in rows if row not in tops]
    for knee in tops:
        (error,) = held_out(f"llama-3.1-70b-fp8-h100-tp{tensor_parallel}", below, [knee])
        assert error < most


@pytest.mark.parametrize(
    ("name", "model", "system", "precision", "most"),
    [
        ("llama-3.1-70b-fp8-h200-tp2", "meta-llama/Llama-3.1-70B", "h200_sxm", "fp8", 0.15),
        ("qwen3-32b-h100-tp2", "Qwen/Qwen3-32B", "h100_sxm", "", 0.16),
        ("gpt-oss-120b-h100-tp2", "openai/gpt-oss-120b", "h100_sxm", "fp4", 0.15),
    ],
)
def test_others_are_further_off(name, model, system, precision, most, shared_data):
    """The promise of 10 % is not kept for a knee that was held out: it is 15 % here."""
    with (shared_data / "calibration" / "aisimulate_silicon_sample.csv").open() as lines:
        rows = [
            Point(
                int(row["batch_size"]),
                int(row["isl"]),
                int(row["osl"]),
                float(row["silicon_ttft_ms"]),
                float(row["silicon_tpot_ms"]),
            )
            for row in csv.DictReader(lines)
            if (row["backend"], row["mode"], row["tp_size"]) == ("vllm", "agg", "2")
            and (row["model_path"], row["system"]) == (model, system)
            and row["precision"] == precision
            and row["moe_ep_size"] in ("", "1")
            and float(row["silicon_ttft_ms"]) <= 3000.0
        ]
    tops = [knee for knee in knees(rows) if knee.output_tokens <= 1024]
    errors = held_out(name, rows, tops)
    assert sum(errors) / len(errors) < 0.09
    assert 0.10 < max(errors) < most
