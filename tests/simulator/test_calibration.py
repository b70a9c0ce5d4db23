"""The model against sweeps that others have measured on real GPUs."""

import csv
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

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
