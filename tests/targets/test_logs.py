"""Logs: their end, following them through a restart, and their limit."""

import asyncio
import os

import pytest

from stoker.clock import LoopClock
from stoker.targets.processes import logs
from stoker.targets.processes.logs import LogFolder, last_lines, read_log, tail_offset


@pytest.fixture
def folder(tmp_path):
    made = LogFolder(tmp_path)
    made.prepare()
    return made


async def text(path, **how):
    how = {"tail": None, "follow": None, "clock": LoopClock()} | how
    return b"".join([chunk async for chunk in read_log(path, **how)])


@pytest.mark.parametrize(
    ("content", "lines", "end"),
    [
        pytest.param(b"a\nb\nc\n", 2, b"b\nc\n", id="ends with a newline"),
        pytest.param(b"a\nb\nc", 2, b"b\nc", id="an unfinished last line counts"),
        pytest.param(b"a\nb\n", 9, b"a\nb\n", id="fewer lines than asked for"),
        pytest.param(b"a\n\n\n", 2, b"\n\n", id="empty lines count"),
        pytest.param(b"", 2, b"", id="empty"),
        pytest.param(b"a\nb\n", 0, b"", id="none asked for"),
    ],
)
@pytest.mark.parametrize("chunk", [1, 3, 65536])
def test_the_tail_is_the_last_lines(tmp_path, monkeypatch, content, lines, end, chunk):
    monkeypatch.setattr(logs, "_CHUNK", chunk)
    path = tmp_path / "a.log"
    path.write_bytes(content)
    assert content[tail_offset(path, lines) :] == end


def test_last_lines_are_text_without_empty_ones(tmp_path):
    path = tmp_path / "a.log"
    path.write_bytes(b"one\n\n two \xff\n\n")
    assert last_lines(path, 2) == ["one", "two \N{REPLACEMENT CHARACTER}"]
    assert last_lines(path, 0) == []
    assert last_lines(tmp_path / "none.log", 2) == []


async def test_a_log_is_read_to_its_end(folder):
    folder.current("m").write_bytes(b"x" * 200_000)
    assert len(await text(folder.current("m"))) == 200_000


@pytest.mark.looptime
async def test_following_goes_on_after_a_restart_and_ends_with_the_pod(folder):
    alive = True
    path = folder.current("m")
    path.write_bytes(b"first line\nbefore\n")
    reading = asyncio.create_task(text(path, tail=1, follow=lambda: alive))
    await asyncio.sleep(1)
    with path.open("ab") as log:
        log.write(b"more\n")
    await asyncio.sleep(1)
    with folder.start_anew("m").open("ab") as log:
        log.write(b"after\n")
    await asyncio.sleep(1)
    assert not reading.done()
    with path.open("ab") as log:
        log.write(b"last\n")
    alive = False
    assert await reading == b"before\nmore\nafter\nlast\n"


@pytest.mark.looptime
async def test_following_begins_before_there_is_a_log(folder):
    alive = True
    reading = asyncio.create_task(text(folder.current("m"), follow=lambda: alive))
    await asyncio.sleep(1)
    folder.current("m").write_bytes(b"hello\n")
    await asyncio.sleep(1)
    alive = False
    assert await reading == b"hello\n"


@pytest.mark.looptime
async def test_following_survives_the_limit(folder):
    alive = True
    path = folder.current("m")
    path.write_bytes(b"x" * 100)
    reading = asyncio.create_task(text(path, tail=0, follow=lambda: alive))
    await asyncio.sleep(1)
    folder.limit(50)
    await asyncio.sleep(1)
    with path.open("ab") as log:
        log.write(b"new\n")
    alive = False
    assert await reading == b"new\n"


def test_a_log_beyond_the_limit_is_moved_and_the_engine_writes_on(folder):
    path = folder.current("m")
    with path.open("ab") as engine:
        engine.write(b"x" * 100)
        engine.flush()
        folder.limit(99)
        engine.write(b"y")
    assert path.read_bytes() == b"y"
    assert path.with_name("m.log.1").read_bytes() == b"x" * 100


def test_a_log_within_the_limit_stays(folder):
    folder.current("m").write_bytes(b"x" * 100)
    folder.limit(100)
    assert folder.current("m").stat().st_size == 100


def test_the_previous_log_is_that_of_the_container_before(folder):
    folder.start_anew("m").write_bytes(b"one")
    folder.start_anew("m").write_bytes(b"two")
    folder.start_anew("m")
    assert folder.previous("m").read_bytes() == b"two"


def test_logs_of_living_pods_and_of_the_last_twenty_gone_are_kept(folder):
    for age in range(25):
        for path in (folder.current(f"pod{age}"), folder.previous(f"pod{age}")):
            path.write_bytes(b"")
            os.utime(path, (1000 - age, 1000 - age))
    folder.prune({"pod24"})
    left = {path.name for path in folder.path.iterdir()}
    assert left == {f"pod{n}{end}" for n in (*range(20), 24) for end in (".log", ".previous.log")}
