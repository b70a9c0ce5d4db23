"""What a successor reads is what was written, or nothing."""

# ruff: noqa: ARG001 - a fake has the signature of what it stands for

import errno
import json
from dataclasses import replace
from pathlib import Path

import pytest

from stoker.targets.processes.records import PodRecord, RecordStore, is_full

RECORD = PodRecord(
    name="m-0123456789-abcde",
    deployment="m",
    namespace="default",
    template="0123456789",
    container="vllm",
    pid=4711,
    identity="boot:99",
    port=20001,
    gpu_ids=(0, 2),
    created_at=1.0,
    started_at=2.0,
    process_started_at=2.5,
    ready_at=None,
    restarts=1,
    last_restart_at=2.5,
    grace_period=30.0,
    terminating=False,
    log_file="m.log",
)


@pytest.fixture
def store(tmp_path):
    made = RecordStore(tmp_path)
    made.prepare()
    return made


def test_a_record_comes_back_as_it_was(store):
    store.write(RECORD)
    assert store.read() == ([RECORD], [])


def test_the_last_record_of_a_pod_counts(store):
    store.write(RECORD)
    store.write(replace(RECORD, ready_at=9.0))
    assert store.read()[0] == [replace(RECORD, ready_at=9.0)]


def test_records_come_oldest_first(store):
    young = replace(RECORD, name="a", created_at=5.0)
    store.write(young)
    store.write(RECORD)
    assert store.read()[0] == [RECORD, young]


def test_a_removed_record_is_gone_and_removing_it_twice_is_no_error(store):
    store.write(RECORD)
    store.remove(RECORD.name)
    store.remove(RECORD.name)
    assert store.read() == ([], [])


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "{}", '{"format": 2}', '{"format": 1, "name": "x", "gpu_ids": []}'],
)
def test_a_file_that_is_no_record_is_named_and_the_others_are_read(store, tmp_path, content):
    store.write(RECORD)
    broken = tmp_path / "pods" / "broken.json"
    broken.write_text(content)
    assert store.read() == ([RECORD], [broken])


def test_a_write_that_fails_leaves_the_old_record(store, tmp_path, monkeypatch):
    store.write(RECORD)

    def full(self, text, encoding):
        self.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space left"):
        store.write(replace(RECORD, pid=1))
    assert store.read()[0] == [RECORD]
    assert [path.name for path in (tmp_path / "pods").iterdir()] == [f"{RECORD.name}.json"]


def test_the_number_of_replicas_comes_back_with_what_the_file_said(store):
    assert store.replicas("default", "m") is None
    store.write_replicas("default", "m", 3, None)
    kept = store.replicas("default", "m")
    assert (kept.replicas, kept.in_file) == (3, None)
    store.remove_replicas("default", "m")
    assert store.replicas("default", "m") is None


def test_deployments_of_two_namespaces_are_two(store):
    store.write_replicas("a", "m", 3, 1)
    assert store.replicas("b", "m") is None


def test_the_watchdog_finds_what_it_needs_in_a_record(store, tmp_path):
    store.write(RECORD)
    content = json.loads((tmp_path / "pods" / f"{RECORD.name}.json").read_text())
    assert (content["name"], content["pid"]) == (RECORD.name, 4711)
    assert (content["identity"], content["grace_period"]) == ("boot:99", 30.0)


def test_a_full_disk_and_a_full_quota_are_told_from_other_errors():
    assert is_full(OSError(errno.ENOSPC, ""))
    assert is_full(OSError(errno.EDQUOT, ""))
    assert not is_full(OSError(errno.EACCES, ""))
