"""Traffic in all the formats that people have, and what is told of rows that are wrong."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.errors import InputError
from stoker.traces import reading, rows, writing
from stoker.traces.arrivals import Arrivals, PromptBlocks

AZURE = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:15:46.6805900,374,44
2023-11-16 18:15:50.9951690,396,109
2023-11-17 00:00:00.0000000,1,2
"""
AZURE_2024 = """TIMESTAMP,ContextTokens,GeneratedTokens
2024-05-10 00:00:00.009930+00:00,2162,5
2024-05-10 00:00:00.017335+00:00,2399,6
"""
BURSTGPT = """Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type
5,ChatGPT,472,18,490,Conversation log
45,GPT-4,1087,0,1087,API log
118,ChatGPT,417,276,693,Conversation log
"""
SERVEGEN = """arrival_s,client,input_tokens,output_tokens
1.473,49,13419,711
3.391,39,201,820
"""
MOONCAKE = """{"timestamp": 3000, "input_length": 700, "output_length": 500, "hash_ids": [0, 1]}
{"timestamp": 6000, "input_length": 1300, "output_length": 490, "hash_ids": [0, 2, 7]}
"""
OWN = """{"time": 0.5, "prompt_tokens": 3, "completion_tokens": 4, "model": "a", "key": "k"}
{"time": 0.75, "prompt_tokens": 5, "completion_tokens": 6, "model": "b"}
"""
VLLM = {
    "date": "20261101-100000",
    "backend": "vllm",
    "model_id": "m",
    "num_prompts": 3,
    "start_times": [12.5, 10.0, 11.0],
    "input_lens": [1, 2, 3],
    "output_lens": [4, 5, 6],
}
GUIDELLM = {
    "metadata": {"version": 1},
    "benchmarks": [
        {
            "requests": {
                "successful": [
                    {"request_start_time": 101.0, "prompt_tokens": 8, "output_tokens": 9},
                    {"request_start_time": 100.0, "prompt_tokens": 6, "output_tokens": 7},
                ],
                "incomplete": [],
                "errored": [
                    {"request_start_time": 102.0, "prompt_tokens": 5, "output_tokens": None},
                    {"request_start_time": None, "prompt_tokens": 5, "output_tokens": None},
                ],
            }
        }
    ],
}


def aiperf(start: float, prompt: int, output: int | None, phase: str = "profiling") -> str:
    metrics = {"input_sequence_length": {"value": prompt, "unit": "tokens"}}
    if output is not None:
        metrics["output_sequence_length"] = {"value": output, "unit": "tokens"}
    metadata = {"request_start_ns": int(start * 1e9), "benchmark_phase": phase}
    return json.dumps({"metadata": metadata, "metrics": metrics}) + "\n"


def written(tmp_path: Path, text: str, name: str = "trace") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def loaded(path: Path, **options: object) -> Arrivals:
    return reading.load(reading.read(path, **options))


def columns(arrivals: Arrivals) -> tuple[list[float], list[int], list[int]]:
    return (
        np.round(arrivals.times, 7).tolist(),
        arrivals.prompt_tokens.tolist(),
        arrivals.output_tokens.tolist(),
    )


@pytest.mark.parametrize(
    ("text", "name", "times", "prompts", "outputs"),
    [
        (AZURE, "azure", [0.0, 4.314579, 20653.31941], [374, 396, 1], [44, 109, 2]),
        (AZURE_2024, "azure", [0.0, 0.007405], [2162, 2399], [5, 6]),
        (BURSTGPT, "burstgpt", [5.0, 45.0, 118.0], [472, 1087, 417], [18, 0, 276]),
        (SERVEGEN, "servegen-sample", [1.473, 3.391], [13419, 201], [711, 820]),
        (MOONCAKE, "mooncake", [3.0, 6.0], [700, 1300], [500, 490]),
        (OWN, "stoker", [0.5, 0.75], [3, 5], [4, 6]),
        (json.dumps(VLLM), "vllm", [0.0, 1.0, 2.5], [2, 3, 1], [5, 6, 4]),
        (json.dumps(GUIDELLM), "guidellm", [0.0, 1.0, 2.0], [6, 8, 5], [7, 9, 0]),
        (
            aiperf(9, 1, 1, "warmup") + aiperf(12, 5, 6) + aiperf(10, 3, None),
            "aiperf",
            [0.0, 2.0],
            [3, 5],
            [0, 6],
        ),
    ],
)
def test_a_format_is_known_by_its_first_lines(text, name, times, prompts, outputs, tmp_path):
    path = written(tmp_path, text)
    assert reading.detected(path).name == name
    assert columns(loaded(path)) == (times, prompts, outputs)
    assert columns(loaded(path, format_name=name)) == (times, prompts, outputs)


def test_seven_digits_of_a_second_are_kept(tmp_path):
    text = AZURE.replace("46.6805900", "46.6805901")
    assert loaded(written(tmp_path, text)).times[1] == pytest.approx(4.3145789, abs=1e-9)


def test_other_zones_than_utc_are_understood(tmp_path):
    text = AZURE_2024.replace("00:00:00.017335+00:00", "02:00:01.009930+02:00")
    assert loaded(written(tmp_path, text)).times[1] == pytest.approx(1.0)


def test_models_and_clients_are_columns_of_names(tmp_path):
    burst = loaded(written(tmp_path, BURSTGPT))
    assert [burst.model_names[at] for at in burst.models] == ["ChatGPT", "GPT-4", "ChatGPT"]
    client = loaded(written(tmp_path, SERVEGEN))
    assert [client.key_names[at] for at in client.keys] == ["49", "39"]
    own = loaded(written(tmp_path, OWN))
    assert [own.key_names[at] for at in own.keys] == ["k", ""]


def test_blocks_of_mooncake_are_512_tokens(tmp_path):
    blocks = loaded(written(tmp_path, MOONCAKE)).blocks
    assert blocks.block_size == 512
    assert [blocks.of(at).tolist() for at in (0, 1)] == [[0, 1], [0, 2, 7]]


def test_what_a_benchmark_left_out_is_told(tmp_path):
    reader = reading.read(written(tmp_path, aiperf(9, 1, 1, "warmup") + aiperf(12, 5, 6)))
    list(reader)
    assert "left out 1 requests of the warm-up" in reader.remarks
    reader = reading.read(written(tmp_path, json.dumps(GUIDELLM)))
    list(reader)
    assert "left out 1 requests without a start or a length" in reader.remarks


def test_a_result_without_start_times_says_how_to_get_them(tmp_path):
    result = {key: value for key, value in VLLM.items() if key != "start_times"}
    with pytest.raises(InputError, match="does not say when") as error:
        loaded(written(tmp_path, json.dumps(result)))
    assert "--save-detailed" in error.value.hint


def test_a_packed_trace_is_unpacked_on_the_way(tmp_path):
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(AZURE.encode()))
    assert len(loaded(path)) == 3


def test_windows_line_ends_and_a_byte_order_mark_do_no_harm(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(b"\xef\xbb\xbf" + AZURE.replace("\n", "\r\n").encode())
    assert len(loaded(path)) == 3


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        pytest.param("a,b\n1,2\n", 1, "not a trace", id="unknown-format"),
        pytest.param(AZURE + "2023-11-17 00:00:01,x,2\n", 5, "not a request", id="not-a-number"),
        pytest.param(AZURE + "2023-11-17 00:00:01,1\n", 5, "not a request", id="too-few"),
        pytest.param(AZURE + ",1,2\n", 5, "not a request", id="no-time"),
        pytest.param(AZURE + "2023-11-17 00:00:01,-1,2\n", 5, "negative prompt", id="negative"),
        pytest.param(AZURE + "2023-11-17 00:00:01,1,1.5\n", 5, "whole number", id="half"),
        pytest.param(AZURE + "2023-11-17 00:00:01,1,nan\n", 5, "whole number", id="nan"),
        pytest.param(AZURE + "2023-11-17 00:00:01,3e9,1\n", 5, "more than", id="too-long"),
        pytest.param(AZURE + "2023-11-16 23:00:00,1,2\n", 5, "earlier", id="not-sorted"),
        pytest.param(MOONCAKE + '{"timestamp": 1}\n', 3, "no `input_length`", id="missing-key"),
        pytest.param(MOONCAKE + "{\n", 3, "not a JSON object", id="not-json"),
        pytest.param(OWN + OWN.splitlines()[0].replace("3", '"3"'), 3, "not a number", id="text"),
        pytest.param(
            MOONCAKE + MOONCAKE.splitlines()[1].replace("[0, 2, 7]", "[0.5]"),
            3,
            "hash_ids",
            id="hash",
        ),
    ],
)
def test_a_fault_is_told_with_its_line_and_what_to_do(text, line, says, tmp_path):
    path = written(tmp_path, text)
    with pytest.raises(InputError, match=says) as error:
        loaded(path)
    assert str(error.value.place) == f"{path}:{line}"
    assert error.value.hint


def test_the_first_bad_row_tells_how_many_there_are(tmp_path):
    path = written(tmp_path, AZURE + "x,1,2\n2023-11-17 00:00:01,-1,2\nx,1,2\n")
    with pytest.raises(InputError, match=r"the first of 3 bad rows") as error:
        loaded(path)
    assert error.value.place.line == 5
    assert "--skip-bad-rows" in error.value.hint


def test_the_first_bad_row_is_the_first_in_the_file_whatever_is_wrong_with_it(tmp_path):
    path = tmp_path / "mixed.csv"
    head, *good = AZURE.splitlines()
    path.write_text("\n".join([head, good[1], good[0], "nonsense", good[2]]) + "\n")
    with pytest.raises(InputError, match="earlier than a row above it") as caught:
        reading.load(reading.read(path))
    assert caught.value.place.line == 3
    assert "the first of 2 bad rows" in caught.value.message


def test_a_file_of_rates_is_told_from_one_of_requests(tmp_path):
    path = tmp_path / "rates.csv"
    path.write_text("t_seconds,rate_rps,active_clients\n0,1.5,3\n")
    with pytest.raises(InputError, match="rates, and no requests") as caught:
        reading.read(path)
    assert f"rates('{path}')" in caught.value.hint


def test_bad_rows_are_left_out_when_asked_and_counted(tmp_path):
    text = (
        AZURE
        + "x,1,2\n2023-11-17 00:00:01,-1,2\n2023-11-16 00:00:00,1,2\n\n2023-11-17 00:00:05,7,7\n"
    )
    reader = reading.read(written(tmp_path, text), skip_bad_rows=True)
    got = reading.load(reader)
    assert got.prompt_tokens.tolist() == [374, 396, 1, 7]
    (remark,) = reader.remarks
    assert "left out 3 bad rows" in remark
    assert "1 not a request, 1 negative prompt tokens, 1 earlier than a row above it" in remark
    assert "trace:5" in remark


def test_a_reader_gives_the_same_a_second_time(tmp_path):
    reader = reading.read(written(tmp_path, SERVEGEN))
    assert columns(reading.load(reader)) == columns(reading.load(reader))


@pytest.mark.parametrize("text", ["", AZURE.splitlines()[0] + "\n"], ids=["nothing", "header"])
def test_an_empty_trace_is_an_error(text, tmp_path):
    with pytest.raises(InputError, match=r"empty|no requests"):
        loaded(written(tmp_path, text))


def test_files_that_cannot_be_read_are_input_errors(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        loaded(tmp_path / "none")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00\x01" * 100)
    with pytest.raises(InputError, match="not UTF-8"):
        loaded(tmp_path / "binary")
    (tmp_path / "broken.gz").write_bytes(b"\x1f\x8b not really")
    with pytest.raises(InputError, match="cannot read"):
        loaded(tmp_path / "broken.gz")
    with pytest.raises(InputError, match="folder without profiles"):
        loaded(tmp_path)


def test_an_unknown_format_names_the_nearest(tmp_path):
    with pytest.raises(InputError) as error:
        reading.read(written(tmp_path, AZURE), format_name="azur")
    assert "did you mean `azure`" in error.value.hint


def test_memory_is_that_of_a_block_however_long_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "_BLOCK", 16 * 1024)

    def peak(count: int) -> int:
        path = tmp_path / "long.csv"
        with path.open("w") as file:
            file.write("arrival_s,client,input_tokens,output_tokens\n")
            file.writelines(f"{at},c{at % 7},10,20\n" for at in range(count))
        tracemalloc.start()
        read = sum(len(chunk) for chunk in reading.read(path))
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert read == count
        return used

    peak(5_000)  # what is imported and cached at the first time
    assert peak(50_000) < 1.5 * peak(5_000)


@given(data=st.binary(max_size=300))
def test_no_bytes_make_a_reader_fail_otherwise(data, tmp_path_factory):
    for head in (b"", AZURE.encode(), MOONCAKE.encode(), SERVEGEN.encode(), OWN.encode()):
        path = tmp_path_factory.mktemp("fuzz") / "trace"
        path.write_bytes(head + data)
        for skip in (False, True):
            try:
                got = loaded(path, skip_bad_rows=skip)
            except InputError:
                continue
            assert len(got) >= 1


@pytest.mark.parametrize("name", ["t.jsonl", "t.jsonl.gz", "t.parquet"])
def test_what_is_written_is_read_back(name, tmp_path):
    trace = Arrivals.of(
        [0.125, 3.0, 3.0],
        [1, 2, 3],
        [4, 5, 0],
        models=np.array([0, 1, 0], np.int32),
        model_names=("a", "b"),
    )
    assert writing.write([trace.part(0, 1), trace.part(1, 3)], tmp_path / name) == 3
    back = loaded(tmp_path / name)
    assert columns(back) == columns(trace)
    assert [back.model_names[at] for at in back.models] == ["a", "b", "a"]
    assert back.keys is None


def test_blocks_are_written_as_lines_and_refused_by_parquet(tmp_path):
    blocks = PromptBlocks(np.array([1, 2, 1]), np.array([0, 2, 3]), 16)
    trace = Arrivals.of([0.0, 1.0], [20, 9], [1, 1], blocks=blocks)
    writing.write([trace], tmp_path / "t.jsonl")
    back = loaded(tmp_path / "t.jsonl").blocks
    assert (back.hashes.tolist(), back.offsets.tolist(), back.block_size) == (
        [1, 2, 1],
        [0, 2, 3],
        16,
    )
    with pytest.raises(InputError, match="no place for the blocks"):
        writing.write([trace], tmp_path / "t.parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["t.jsonl"]


def test_an_error_on_the_way_leaves_the_file_that_was_there(tmp_path):
    path = written(tmp_path, OWN, "t.jsonl")
    bad = written(tmp_path, AZURE + "x,1,2\n")
    with pytest.raises(InputError):
        writing.write(reading.read(bad), path)
    assert path.read_text() == OWN


def test_the_same_trace_is_the_same_file(tmp_path):
    trace = Arrivals.of([0.0], [1], [2])
    for name in ("a.jsonl.gz", "b.jsonl.gz"):
        writing.write([trace], tmp_path / name)
    assert (tmp_path / "a.jsonl.gz").read_bytes() == (tmp_path / "b.jsonl.gz").read_bytes()


@pytest.mark.parametrize(
    ("path", "count", "span"),
    [
        ("azure2023/AzureLLMInferenceTrace_conv.csv", 19_366, 3502),
        ("azure2023/AzureLLMInferenceTrace_code.csv", 8_819, 3436),
        ("mooncake/synthetic_trace.jsonl", 3_993, 1022),
        ("servegen/deepseek-r1_1day_1.5rps.csv.gz", 129_869, 86_398),
    ],
)
def test_the_published_traces_are_read_to_their_end(path, count, span, shared_data):
    got = loaded(shared_data / "traces" / path)
    assert len(got) == count
    assert got.duration == pytest.approx(span, abs=1.0)
