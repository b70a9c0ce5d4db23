"""The memory that gateway processes share."""

from __future__ import annotations

import os

import pytest
from tests.gateway.shared.conftest import NOBODY

from stoker.gateway.keys import Keys
from stoker.gateway.openai import Refusal
from stoker.gateway.shared import table as tables
from stoker.gateway.shared.table import Row, Table, base_of


@pytest.fixture
def table():
    made = Table.create()
    yield made
    made.close()


@pytest.fixture
def rows(table):
    made = [Row(table, number, os.getpid()) for number in range(2)]
    for row in made:
        row.look_for_peers()
    return made


def test_another_process_opens_what_this_one_has(table):
    found = Table.of_process(os.getpid(), table.fd)
    assert found is not None
    assert found.is_same(table)
    table.words[100] = 7
    assert found.words[100] == 7
    found.close()


def test_what_is_no_table_is_not_opened(tmp_path):
    with (tmp_path / "file").open("wb") as file:
        assert Table.of_process(os.getpid(), file.fileno()) is None
    assert Table.of_process(NOBODY, 3) is None


def test_the_row_of_a_dead_process_is_cleared_once_and_may_be_taken(table, rows):
    cell = rows[1].cell("thing")
    cell.put(0, 5)
    ours = rows[0].cell("thing")
    assert rows[0].bury() == []
    table.words[base_of(1)] = NOBODY
    assert rows[0].bury() == [1]
    assert rows[0].bury() == []
    assert ours.others(0) == 0
    assert next(table.free_rows()) == 1


def test_a_row_that_has_a_new_owner_is_not_cleared_for_the_old_one(table, rows):
    rows[1].cell("thing").put(0, 5)
    assert not table.clear(1, NOBODY)
    assert rows[0].cell("thing").others(0) == 5


def test_a_cell_that_nobody_uses_is_free_for_others(table, rows):
    cells = [row.cell("thing") for row in rows]
    cells[0].put(0, 5)
    cells[0].drop()
    assert cells[1].others(0) == 0
    cells[1].drop()
    row = base_of(0), base_of(1)
    assert not any(any(table.words[base + 2 : base_of(1) - base_of(0) + base]) for base in row)


def test_what_finds_no_cell_is_counted_alone(monkeypatch, rows, caplog):
    monkeypatch.setattr(tables, "_WINDOW", 0)
    cells = [row.cell("thing") for row in rows]
    cells[0].put(0, 5)
    assert (cells[0].own(0), cells[1].others(0)) == (5, 0)
    assert "is counted by each process alone" in caplog.text


@pytest.fixture
def keys(tmp_path, rows):
    """Two processes' views of one file of keys."""
    path = tmp_path / "keys.yaml"
    path.write_text("keys: [{name: a, key: k, concurrency: 2, requestsPerMinute: 60}]")
    both = [Keys(path), Keys(path)]
    for one, row in zip(both, rows, strict=True):
        one.row = row
    return both


def test_the_concurrency_of_a_key_is_that_of_all(keys):
    one, other = (found.sender(b"k") for found in keys)
    one.begin(100.0)
    other.begin(100.0)
    for sender in (one, other):
        with pytest.raises(Refusal, match="2 requests of this API key"):
            sender.begin(100.0)
    other.end()
    one.begin(100.0)


def test_the_rate_of_a_key_is_one_bucket(keys):
    one, other = (found.sender(b"k") for found in keys)
    for number in range(10):
        sender = (one, other)[number % 2]
        sender.begin(100.0)
        sender.end()
    for sender in (one, other):
        with pytest.raises(Refusal, match="60 requests a minute"):
            sender.begin(100.0)
    other.begin(101.0)
    other.end()
    with pytest.raises(Refusal):
        one.begin(101.0)


def test_a_file_of_keys_that_is_read_again_keeps_count(keys, tmp_path):
    first, _ = keys
    running = first.sender(b"k")
    running.begin(100.0)
    (tmp_path / "keys.yaml").write_text("keys: [{name: b, key: k, concurrency: 1}]")
    for found in keys:
        found.reload_if_changed(1e9)
        with pytest.raises(Refusal, match="1 requests of this API key"):
            found.sender(b"k").begin(100.0)
    running.end()
    keys[1].sender(b"k").begin(100.0)
