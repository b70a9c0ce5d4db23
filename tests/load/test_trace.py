"""Recorded traffic: two formats, read a line at a time."""

from __future__ import annotations

import gzip
from itertools import islice, pairwise
from pathlib import Path

import pytest

from stoker.errors import InputError
from stoker.load import arrivals, trace
from stoker.load.trace import Arrival

AZURE = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:15:46.6805900,374,44
2023-11-16 18:15:50.9951690,396,109
2023-11-17 00:00:00.0000000,1,2
"""
MOONCAKE = """{"timestamp": 3000, "input_length": 6758, "output_length": 500, "hash_ids": [0, 1]}
{"timestamp": 6000, "input_length": 7322, "output_length": 490, "hash_ids": [0, 2]}
"""
EXAMPLE = Path(__file__).parents[2] / "examples" / "traces" / "azure2023-conv-slice.csv"


def write(tmp_path: Path, text: str, name: str = "trace") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def test_azures_csv_counts_from_its_first_request_across_midnight(tmp_path):
    got = list(trace.read(write(tmp_path, AZURE)))
    assert [round(a.at, 6) for a in got] == [0.0, 4.314579, 20653.31941]
    assert [(a.input_tokens, a.output_tokens) for a in got] == [(374, 44), (396, 109), (1, 2)]


def test_mooncakes_json_lines_count_milliseconds(tmp_path):
    assert list(trace.read(write(tmp_path, MOONCAKE))) == [
        Arrival(0.0, 6758, 500),
        Arrival(3.0, 7322, 490),
    ]


def test_a_packed_trace_is_unpacked_on_the_way(tmp_path):
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(AZURE.encode()))
    assert len(list(trace.read(path))) == 3


def test_reading_is_lazy_so_that_a_fault_far_down_does_not_hold_up_the_start(tmp_path):
    reading = trace.read(write(tmp_path, AZURE + "nonsense\n"))
    assert len(list(islice(reading, 3))) == 3
    with pytest.raises(InputError, match="not a request"):
        next(reading)


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        pytest.param("a,b\n1,2\n", 1, "not a trace", id="unknown-format"),
        pytest.param("", 1, "not a trace", id="empty"),
        pytest.param(AZURE + "2023-11-17 00:00:01,x,2\n", 5, "not a request", id="not-a-number"),
        pytest.param(AZURE + "2023-11-17 00:00:01,1\n", 5, "not a request", id="too-few"),
        pytest.param(AZURE + "2023-11-17 00:00:01,-1,2\n", 5, "not a request", id="negative"),
        pytest.param(AZURE + "2023-11-16 23:00:00,1,2\n", 5, "came 3600 s before", id="not-sorted"),
        pytest.param(MOONCAKE + '{"timestamp": 1}\n', 3, "not a request", id="missing-key"),
        pytest.param(MOONCAKE + "{\n", 3, "not a request", id="not-json"),
    ],
)
def test_a_fault_is_told_with_its_line_and_what_to_do(text, line, says, tmp_path):
    path = write(tmp_path, text)
    with pytest.raises(InputError, match=says) as error:
        list(trace.read(path))
    assert str(error.value.place) == f"{path}:{line}"
    assert error.value.hint


def test_a_trace_that_is_not_there_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        list(trace.read(tmp_path / "none"))


def test_a_slice_starts_at_zero_and_excludes_its_end():
    all_ = [Arrival(float(t), 1, 1) for t in range(10)]
    got = list(trace.cut(all_, start=3.0, duration=4.0))
    assert [a.at for a in got] == [0.0, 1.0, 2.0, 3.0]
    assert [a.at for a in trace.cut(all_, start=8.0, duration=None)] == [0.0, 1.0]


def test_speed_divides_times_and_leaves_lengths():
    assert list(trace.speed_up([Arrival(9.0, 5, 6)], 3.0)) == [Arrival(3.0, 5, 6)]


def test_lengths_can_be_replaced_one_by_one():
    assert list(trace.resize([Arrival(1.0, 5, 6)], input_tokens=None, output_tokens=9)) == [
        Arrival(1.0, 5, 9)
    ]


def test_the_example_is_what_its_readme_says():
    got = list(trace.read(EXAMPLE))
    assert len(got) == 785
    assert got[-1].at < 180
    halves = [sum(start <= a.at < start + 30 for a in got) for start in range(0, 180, 30)]
    assert (halves[0], halves[-1]) == (59, 172)
    assert max(a.input_tokens for a in got) == 4107
    assert max(a.output_tokens for a in got) == 1000


@pytest.mark.parametrize(
    ("path", "count", "span"),
    [
        ("azure2023/AzureLLMInferenceTrace_conv.csv", 19_366, 3502),
        ("azure2023/AzureLLMInferenceTrace_code.csv", 8_819, 3436),
        ("mooncake/synthetic_trace.jsonl", 3_993, 1022),
    ],
)
def test_the_published_traces_are_read_to_their_end(path, count, span, shared_data):
    got = list(trace.read(shared_data / "traces" / path))
    assert len(got) == count
    assert got[-1].at == pytest.approx(span, abs=1.0)


def test_a_poisson_process_has_its_rate_and_the_spread_of_one():
    count = 20_000
    times = [a.at for a in islice(arrivals.poisson(5.0, 1, 1, seed=7), count)]
    gaps = [b - a for a, b in pairwise(times)]
    mean = sum(gaps) / len(gaps)
    variance = sum((gap - mean) ** 2 for gap in gaps) / len(gaps)
    assert mean == pytest.approx(0.2, rel=0.03)
    assert variance**0.5 / mean == pytest.approx(1.0, rel=0.03)


def test_the_same_seed_gives_the_same_requests_and_another_others():
    first, again, other = (
        list(islice(arrivals.poisson(5.0, 1, 1, seed=seed), 50)) for seed in (1, 1, 2)
    )
    assert first == again != other


def test_arrivals_end_before_the_duration():
    got = list(arrivals.until(arrivals.poisson(10.0, 3, 4, seed=0), 30.0))
    assert got[-1].at < 30.0
    assert 200 < len(got) < 400
