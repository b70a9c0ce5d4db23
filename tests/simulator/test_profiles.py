"""The profiles agree with the measured tables that they were fitted to."""

import csv
from pathlib import Path

import pytest

from stoker.errors import InputError
from stoker.simulator.profiles import PROFILES, profile

GPUS = {"a100": "a100_sxm", "h100": "h100_sxm", "h200": "h200_sxm"}


def rows(data: Path, file: str, gpu: str) -> list[dict[str, str]]:
    with (data / "calibration" / file).open() as lines:
        return [
            row
            for row in csv.DictReader(lines)
            if row["gpu"] == GPUS[gpu] and row["model"] == "Llama-3.1-8B TP1"
        ]


@pytest.mark.parametrize(("gpu", "error"), [("a100", 0.11), ("h100", 0.07), ("h200", 0.08)])
def test_a_decode_step_is_as_long_as_measured(gpu, error, shared_data):
    engine = profile(f"llama-3.1-8b-{gpu}")
    measured = [
        row
        for row in rows(shared_data, "aisimulate_vllm_decode_step_ms.csv", gpu)
        if row["decode_step_ms"]
    ]
    assert len(measured) > 20
    for row in measured:
        batch, context = int(row["batch"]), int(row["ctx"])
        expected = float(row["decode_step_ms"])
        assert engine.step_seconds(0, batch, batch * context) * 1000 == pytest.approx(
            expected, rel=error
        ), row


@pytest.mark.parametrize("gpu", sorted(GPUS))
def test_a_prefill_of_512_tokens_and_more_is_within_17_percent_of_the_measured_one(
    gpu, shared_data
):
    engine = profile(f"llama-3.1-8b-{gpu}")
    measured = [
        row
        for row in rows(shared_data, "aisimulate_vllm_prefill_ms.csv", gpu)
        if int(row["prompt_tokens"]) >= 512
    ]
    assert len(measured) == 5
    for row in measured:
        assert engine.step_seconds(int(row["prompt_tokens"]), 0, 0) * 1000 == pytest.approx(
            float(row["prefill_ms"]), rel=0.17
        ), row


def test_an_80_gb_gpu_holds_about_440_thousand_tokens_beside_an_8b_model():
    blocks = profile("llama-3.1-8b-a100").kv_blocks(0.9, 16)
    assert 430_000 < blocks * 16 < 460_000


def test_a_gpu_that_is_too_small_for_the_model_has_no_blocks():
    assert profile("llama-3.1-8b-a100").kv_blocks(0.1, 16) == 0


def test_faster_divides_the_length_of_every_step():
    tiny = PROFILES["tiny"]
    assert tiny.faster(4.0).step_seconds(300, 5, 700) == pytest.approx(
        tiny.step_seconds(300, 5, 700) / 4.0
    )


def test_an_unknown_profile_names_the_ones_that_exist():
    with pytest.raises(InputError) as caught:
        profile("b200")
    assert caught.value.hint is not None
    assert "llama-3.1-8b-h100" in caught.value.hint
