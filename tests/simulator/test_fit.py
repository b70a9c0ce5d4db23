"""A fit finds the engine that a sweep was made with, and a profile survives its file."""

from dataclasses import replace

import pytest

from stoker.errors import InputError
from stoker.simulator.calibration import Point, fit, refined, swept
from stoker.simulator.engine import Limits
from stoker.simulator.profiles import profile, write_profile

H100 = profile("llama-3.1-8b-h100")


LIMITS = Limits.of(H100)


def measured(batch: int, prompt: int, rounds: int) -> Point:
    """What a load generator with *batch* users would have measured."""
    point = Point(batch, prompt, 64, 0.0, 0.0)
    ttft, tpot = swept(H100, LIMITS, point, rounds)
    return replace(point, ttft=ttft, tpot=tpot)


def test_a_long_sweep_of_a_known_engine_gives_its_numbers_back():
    points = [measured(batch, prompt, 6) for prompt in (128, 1024, 4096) for batch in (1, 4, 16)]
    found = fit(points, H100.max_num_batched_tokens)
    assert found.weights_ms == pytest.approx(H100.weights_ms, rel=0.08)
    assert found.prefill_token_ms == pytest.approx(H100.prefill_token_ms, rel=0.15)
    assert found.mean_error < 0.10  # such short answers are not in a steady state


def test_a_short_sweep_gives_them_back_when_it_is_modelled_itself():
    points = [measured(batch, prompt, 2) for prompt in (128, 2048) for batch in (1, 4, 16)]
    found = refined(fit(points, H100.max_num_batched_tokens), points, LIMITS, 2)
    assert found.largest_error < 0.01
    assert found.weights_ms == pytest.approx(H100.weights_ms, rel=0.02)
    assert found.prefill_token_ms == pytest.approx(H100.prefill_token_ms, rel=0.02)


def test_too_few_points_are_refused():
    with pytest.raises(ValueError, match="four points"):
        fit([Point(1, 100, 10, 1.0, 1.0)] * 3, 8192)


def test_a_profile_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "mine.json"
    mine = replace(H100, name="mine", gpus=2, source="measured, 3 % off")
    write_profile(mine, path)
    assert profile(str(path)) == mine


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "not JSON"),
        ("{}", "not an engine profile"),
        ("[]", "not an engine profile"),
        (None, "cannot read"),
    ],
)
def test_what_is_no_profile_is_refused(tmp_path, text, why):
    path = tmp_path / "x.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=why):
        profile(str(path))


def test_a_number_that_is_none_is_refused(tmp_path):
    path = tmp_path / "x.json"
    write_profile(H100, path)
    path.write_text(path.read_text().replace("6.26", '"fast"'))
    with pytest.raises(InputError, match="weights_ms"):
        profile(str(path))
