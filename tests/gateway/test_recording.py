"""The recorder: what goes into a trace, in which order, and what a file is that it goes on with."""

from __future__ import annotations

import asyncio
import errno
import json
import os

import pytest

from stoker.errors import InputError
from stoker.gateway import recorder as recording
from stoker.gateway import trace_file
from stoker.gateway.recorder import Recorder
from stoker.gateway.trace_file import TraceFile, salt_of
from stoker.traces import reading

SALT = bytes(16)
OFFSET = 1_795_000_000.0  # Unix time minus the steady clock
TEXT = "x" * 400


def row(came, *, prompt=10, completion=2, key=None, estimated=False):
    return [came, "m", key, prompt, completion, estimated]


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def times(path):
    return [line["time"] for line in lines(path)]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "requests.jsonl"


@pytest.fixture
async def recorded(engine, gateway):
    """A gateway that records, its engine, and the rows so far."""
    pod = await engine()
    door = await gateway(pod)
    door.plane.recorder = Recorder(SALT)

    def rows(**flags):
        return door.plane.recorder.take(door.plane.now(), **flags)[0]

    return door, pod, rows


# -- what a row says -----------------------------------------------------------------------------


async def test_both_token_counts_are_what_the_engine_reports(recorded, post):
    door, _, rows = recorded
    await post(door, stream=True)
    await post(door)
    assert [(model, *counts) for _, model, _, *counts in rows()] == [
        ("m", 3, 2, False),
        ("m", 3, 7, False),
    ]


async def test_an_alias_is_recorded_as_the_model_that_it_means(recorded, post):
    door, _, rows = recorded
    await post(door, model="alias")
    assert rows()[0][1] == "m"


async def test_a_stream_without_usage_is_an_estimate(recorded, post, events):
    door, pod, rows = recorded
    reply = b"".join((*events[:3], events[4]))
    pod.answer = pod.write(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n" + reply
    )
    await post(door, stream=True, prompt=TEXT)
    [(*_, prompt, completion, estimated)] = rows()
    assert estimated
    assert completion == 2  # its events but the first
    assert prompt == pytest.approx((400 + 54) / 4, abs=5)  # four bytes a token


async def test_estimates_of_prompts_learn_from_what_the_engine_reports(recorded, post, events):
    door, pod, rows = recorded
    await post(door)  # 3 tokens
    size = len(json.dumps({"model": "m", "messages": []}))
    assert rows()[0][3] == 3
    pod.answer = pod.write(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
        + events[0]
    )
    await post(door, stream=True, prompt=TEXT)
    long = len(json.dumps({"model": "m", "messages": [], "stream": True, "prompt": TEXT}))
    assert rows()[0][3] == round(long / (size / 3))


async def test_an_answer_in_chunks_that_is_no_stream_is_read_too(recorded, post):
    door, pod, rows = recorded
    usage = b'{"usage":{"prompt_tokens":11,"completion_tokens":5}}'
    pod.answer = pod.write(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"%x\r\n%b\r\n0\r\n\r\n" % (len(usage), usage)
    )
    await post(door)
    assert rows()[0][3:] == (11, 5, False)
    assert 'stoker_gateway_output_tokens_total{model="m"} 5' in door.page()


async def test_an_api_key_becomes_a_name_that_does_not_tell_it(recorded, post):
    door, _, rows = recorded
    for key in ("sk-one", "sk-two", "sk-one"):
        await post(door, headers={"Authorization": f"Bearer {key}"})
    await post(door)
    one, two, again, none = (row[2] for row in rows())
    assert one == again != two
    assert none is None
    assert len(one) == 12
    other = Recorder(bytes([1]) * 16)
    door.plane.recorder = other
    await post(door, headers={"Authorization": "Bearer sk-one"})
    assert other.take(door.plane.now())[0][0][2] != one, "another salt, another name"


async def test_only_requests_that_an_engine_generates_for_are_recorded(recorded, post):
    door, pod, rows = recorded
    await post(door, path="/v1/embeddings")
    await post(door, model="unknown")
    pod.answer = pod.status(400)
    await post(door)
    assert rows() == []
    pod.answer = pod.default
    await post(door, path="/engines/m/v1/completions")
    assert len(rows()) == 1


async def test_a_request_that_the_gateway_turned_down_was_demand(gateway, post):
    door = await gateway(hold=0.01)
    door.plane.recorder = Recorder(SALT)
    status, _, _ = await post(door)
    assert status == 503
    [(*_, completion, estimated)], _ = door.plane.recorder.take(door.plane.now())
    assert (completion, estimated) == (0, True)


async def test_a_client_that_goes_leaves_what_it_has_had(recorded, post, until):
    door, pod, rows = recorded
    pod.gate.clear()
    request = post(door, stream=True)
    await until(lambda: door.in_flight("pod-1") == 1)
    assert rows() == [], "it is not over"
    request.cancel()
    await until(lambda: door.in_flight("pod-1") == 0)
    [(*_, estimated)] = rows()
    assert estimated


# -- order and limits ----------------------------------------------------------------------------


async def test_rows_leave_in_the_order_of_arrival(recorded, post, until):
    door, pod, rows = recorded
    pod.gate.clear()
    slow = post(door, stream=True)
    await until(lambda: len(pod.requests) == 1)
    pod.answer = pod.status(500)
    await post(door)
    now = door.plane.now()
    ready, before = door.plane.recorder.take(now)
    assert ready == []
    assert before < now
    pod.gate.set()
    await slow
    first, second = rows()
    assert first[0] == before < second[0]
    assert first[4] == 2
    assert second[4] == 0


async def test_a_request_holds_others_back_for_so_long_and_not_longer(recorded, post, until):
    door, pod, rows = recorded
    pod.gate.clear()
    slow = post(door, stream=True)
    await until(lambda: len(pod.requests) == 1)
    pod.gate.set()
    pod.answer = pod.status(500)
    recorder = door.plane.recorder
    ready, _ = recorder.take(door.plane.now() + recording.PATIENCE + 1)
    assert [row[5] for row in ready] == [True]
    await slow
    assert rows() == [], "it is there once"


async def test_what_nobody_takes_does_not_fill_memory(recorded, post):
    door, _, rows = recorded
    door.plane.recorder.most = 4
    for _ in range(6):
        await post(door)
    assert door.plane.recorder.lost == 2
    assert len(rows()) == 4


# -- the file ------------------------------------------------------------------------------------


def test_rows_of_several_processes_are_merged(path):
    file = TraceFile(path, OFFSET)
    file.add(0, [], until=5.0)
    file.add(1, [row(5.5), row(7.0)], until=8.0)
    assert times(path) == [], "the other process may have an earlier one"
    file.add(0, [row(5.25)], until=6.0)
    assert times(path) == [0.0, 0.25]
    file.left(0)
    assert times(path) == [0.0, 0.25, 1.75]
    file.add(1, [row(9.0)], until=8.5)
    file.close()
    assert times(path) == [0.0, 0.25, 1.75, 3.75]


def test_a_row_that_comes_too_late_does_not_go_back_in_time(path):
    file = TraceFile(path, OFFSET)
    file.add(0, [row(5.0), row(8.0)], until=9.0)
    file.add(1, [row(6.0)], until=9.0)
    file.close()
    assert times(path) == [0.0, 3.0, 3.0]


def test_rows_that_wait_for_a_process_are_limited(path, monkeypatch):
    monkeypatch.setattr(trace_file, "_MOST", 2)
    file = TraceFile(path, OFFSET)
    file.add(0, [], until=0.0)
    file.add(1, [row(1.0), row(2.0), row(3.0)], until=4.0)
    assert times(path) == [0.0]
    file.close()


def test_the_reader_reads_it_and_tells_estimates(path):
    file = TraceFile(path, OFFSET)
    file.add(0, [row(1.0, key="ab"), row(2.0, prompt=99, estimated=True)], until=3.0)
    reader = reading.read(path)  # while it is open
    arrivals = reading.load(reader)
    assert reader.format.name == "stoker"
    assert arrivals.times.tolist() == [0.0, 1.0]
    assert arrivals.prompt_tokens.tolist() == [10, 99]
    assert arrivals.model_names == ("m",)
    assert reader.remarks == ["tokens of 1 of 2 requests are estimates"]
    file.close()


def test_the_next_run_goes_on_where_the_clock_stands(path):
    first = TraceFile(path, OFFSET)
    first.add(0, [row(100.0), row(101.0)], until=102.0)
    first.close()
    second = TraceFile(path, OFFSET + 1000.0)  # the machine was started anew
    second.add(0, [row(1.0)], until=2.0)
    second.close()
    assert times(path) == [0.0, 1.0, 901.0]
    assert [line.get("unix_time") for line in lines(path)] == [OFFSET + 100, None, OFFSET + 1001]


def test_half_a_line_of_a_run_that_was_killed_is_cut_off(path):
    first = TraceFile(path, OFFSET)
    first.add(0, [row(1.0), row(2.0)], until=3.0)
    first.close()
    with path.open("ab") as file:
        file.write(b'{"time":2.5,"promp')
    second = TraceFile(path, OFFSET)
    second.add(0, [row(4.0)], until=5.0)
    second.close()
    assert times(path) == [0.0, 1.0, 3.0]


@pytest.mark.parametrize("text", ["hello\n", '{"time": 1}\n', "{}", "[1]\n", '{"time":0'])
def test_a_file_of_others_is_left_alone(path, text):
    path.write_text(text)
    with pytest.raises(InputError, match="did not write it"):
        TraceFile(path, OFFSET)
    assert path.read_text() == text


def test_two_runs_do_not_write_one_file(path):
    file = TraceFile(path, OFFSET)
    with pytest.raises(InputError, match="another run"):
        TraceFile(path, OFFSET)
    file.close()
    TraceFile(path, OFFSET).close()


def test_a_name_that_promises_another_format_is_refused(tmp_path):
    with pytest.raises(InputError, match="plain JSON lines"):
        TraceFile(tmp_path / "requests.jsonl.gz", OFFSET)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_does_not_exist_is_an_error(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        TraceFile(tmp_path / "absent" / "requests.jsonl", OFFSET)


def test_a_full_disk_ends_the_recording_and_leaves_whole_lines(path, monkeypatch, caplog):
    file = TraceFile(path, OFFSET)
    file.add(0, [row(1.0)], until=2.0)
    real, asked = os.write, []

    def full(fd: int, data: bytes) -> int:
        asked.append(data)
        if len(asked) > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(fd, data[:10])

    monkeypatch.setattr(os, "write", full)
    file.add(0, [row(2.0)], until=3.0)
    file.add(0, [row(3.0)], until=4.0)
    monkeypatch.undo()
    file.close()
    assert times(path) == [0.0]
    assert "recording has stopped: No space left on device" in caplog.text
    assert len(asked) == 2


def test_the_salt_of_a_directory_stays_and_is_for_its_owner_alone(tmp_path):
    salt = salt_of(tmp_path)
    assert salt == salt_of(tmp_path)
    assert len(salt) == 16
    assert (tmp_path / "record.salt").stat().st_mode & 0o077 == 0


async def test_rows_of_many_requests_at_once_leave_whole(recorded, post):
    door, _, rows = recorded
    await asyncio.gather(*(post(door) for _ in range(20)))
    came = [row[0] for row in rows()]
    assert len(came) == 20
    assert came == sorted(came)
