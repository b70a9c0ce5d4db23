"""Client profiles of ServeGen: rates, gaps and lengths are those of the profile."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from stoker.errors import InputError
from stoker.traces import reading
from stoker.traces.statistics import Description


def profile(folder: Path, number: int, windows: str, lengths: str = "{10: 0.25, 30: 0.75}") -> None:
    (folder / f"chunk-{number}-trace.csv").write_text(windows)
    dataset = {"0": {"input_tokens": lengths, "output_tokens": "{5: 1.0}"}}
    (folder / f"chunk-{number}-dataset.json").write_text(json.dumps(dataset))


def flat(rate: float, law: str, shape: float, count: int = 20) -> str:
    return "".join(f"{600 * at},{rate},1,{law},{shape},1\n" for at in range(count))


@pytest.mark.parametrize(
    ("law", "shape", "variation"),
    [("Gamma", 0.25, 2.0), ("Gamma", 1.0, 1.0), ("Weibull", 1.0, 1.0)],
)
def test_volume_and_burstiness_are_those_of_the_windows(law, shape, variation, tmp_path):
    profile(tmp_path, 0, flat(2.0, law, shape))
    found = Description.of(reading.read(tmp_path))
    assert found.requests == pytest.approx(24_000, rel=0.03)  # no extra bursts at window edges
    assert found.gap_variation == pytest.approx(variation, rel=0.05)
    assert found.prompt.percentile(50) == 30
    assert found.prompt.total / found.requests == pytest.approx(25, rel=0.02)
    assert found.output.total == 5 * found.requests


def test_windows_shorter_than_a_gap_do_not_start_anew(tmp_path):
    profile(tmp_path, 0, flat(0.001, "Gamma", 1.0, count=5000))  # a request in 1000 s
    assert Description.of(reading.read(tmp_path)).requests == pytest.approx(3000, rel=0.06)


def test_clients_are_merged_in_time_and_keep_their_names(tmp_path):
    profile(tmp_path, 0, flat(1.0, "Gamma", 1.0))
    profile(tmp_path, 1, "0,0,0,,,\n3000,4,1,Gamma,1,1\n6000,0,0,,,\n")
    got = reading.load(reading.read(tmp_path))
    assert (np.diff(got.times) >= 0).all()
    late = got.times[got.keys == got.key_names.index("chunk-1")]
    assert late.min() >= 3000
    assert late.max() < 6000
    assert len(late) == pytest.approx(12_000, rel=0.04)


def test_the_same_seed_gives_the_same_requests_and_another_others(tmp_path):
    profile(tmp_path, 0, flat(1.0, "Gamma", 1.0))
    one, same, other = (
        reading.load(reading.read(tmp_path, seed=seed)).times.tolist() for seed in (1, 1, 2)
    )
    assert one == same != other


def test_lengths_are_never_run_as_code(tmp_path):
    profile(tmp_path, 0, flat(1.0, "Gamma", 1.0), lengths="__import__('os').abort()")
    with pytest.raises(InputError, match="not a data set"):
        reading.load(reading.read(tmp_path))


@pytest.mark.parametrize(
    "windows",
    [
        "0,1,1,Pareto,1,1\n600,1,1,Gamma,1,1\n",
        "0,x\n600,1\n",
        "0,1,1,Gamma,1,1\n",
        "600,1,1,Gamma,1,1\n0,1,1,Gamma,1,1\n",
    ],
    ids=["law", "columns", "one-window", "order"],
)
def test_a_broken_profile_is_told(windows, tmp_path):
    profile(tmp_path, 0, windows)
    with pytest.raises(InputError, match="window"):
        reading.load(reading.read(tmp_path))
