"""Samples outlive a run that was killed; one that has stopped leaves nothing."""

from __future__ import annotations

import pytest

from stoker.clock import FixedClock
from stoker.metrics.exposition import Metadata
from stoker.metrics.sample import Labels
from stoker.metrics.storage import Storage
from stoker.promql.engine import instant
from stoker.stack.samples import KeptSamples

NOW = 1_700_000_000.0
X = Labels({"__name__": "x_total", "pod": "a"})


@pytest.fixture
def told() -> list[str]:
    return []


def kept(tmp_path, told, now=NOW) -> tuple[Storage, KeptSamples]:
    storage = Storage()
    return storage, KeptSamples(storage, FixedClock(now), tmp_path, on_trouble=told.append)


async def test_windows_go_on_and_nothing_has_a_value_until_it_is_read_again(tmp_path, told):
    storage, samples = kept(tmp_path, told)
    storage.metadata["x_total"] = Metadata("counter")
    for t in range(0, 61, 5):
        storage.append(X, NOW - 60 + t, float(t))
    await samples.save()

    storage, samples = kept(tmp_path, told, NOW + 10)
    samples.load()
    assert len(instant("x_total", storage, NOW + 10)) == 0
    assert storage.metadata["x_total"].type == "counter"
    storage.append(X, NOW + 15, 75.0)
    assert str(instant("x_total", storage, NOW + 15)) == 'x_total{pod="a"} => 75 @[1700000015]'
    (rate,) = instant("rate(x_total[1m])", storage, NOW + 15).samples
    assert rate.v == pytest.approx(1)
    assert told == []


async def test_what_is_older_than_the_retention_is_gone(tmp_path, told):
    storage, samples = kept(tmp_path, told)
    storage.append(X, NOW, 1.0)
    await samples.save()
    storage, samples = kept(tmp_path, told, NOW + 3 * 3600)
    samples.load()
    assert storage.series() == []


async def test_nothing_is_left_after_a_stop(tmp_path, told):
    storage, samples = kept(tmp_path, told)
    storage.append(X, NOW, 1.0)
    await samples.save()
    samples.forget()
    storage, samples = kept(tmp_path, told)
    samples.load()
    assert storage.series() == []
    assert list(tmp_path.iterdir()) == []


async def test_damage_is_told_and_does_not_stop_the_start(tmp_path, told):
    storage, samples = kept(tmp_path, told)
    storage.append(X, NOW, 1.0)
    await samples.save()
    (tmp_path / "metrics" / "series.json").write_text("{")
    storage, samples = kept(tmp_path, told)
    samples.load()
    assert storage.series() == []
    (sentence,) = told
    assert "damaged metrics snapshot" in sentence
    assert sentence.endswith("windows of queries start anew")


async def test_full_disk_is_told_once_and_once_when_it_is_over(tmp_path, told):
    _, samples = kept(tmp_path, told)
    (tmp_path / "metrics").write_text("in the way")
    await samples.save()
    await samples.save()
    assert len(told) == 1
    (tmp_path / "metrics").unlink()
    await samples.save()
    assert told[1].endswith("can be written again")
