from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.errors import InputError
from stoker.metrics import snapshot
from stoker.metrics.exposition import Metadata
from stoker.metrics.sample import STALE, Labels, Matcher, MatchOp, equals, is_stale
from stoker.metrics.storage import Storage


def named(name: str, **labels: str) -> Labels:
    return Labels({"__name__": name, **labels})


X = named("x", pod="a")


def values(storage: Storage, labels: Labels = X) -> list[tuple[float, float]]:
    matchers = equals(**labels.as_dict())
    return [
        (float(t), float(v))
        for one in storage.select(matchers, 0, 1e10)
        if one.labels == labels
        for t, v in zip(one.times, one.values, strict=True)
    ]


def test_samples_come_back_in_order():
    storage = Storage()
    for t in range(100):
        assert storage.append(X, 1000 + t, float(t))
    assert values(storage) == [(1000.0 + t, float(t)) for t in range(100)]


def test_older_sample_is_refused_and_counted():
    storage = Storage()
    storage.append(X, 10, 1.0)
    assert not storage.append(X, 9, 2.0)
    assert storage.refused == {"out_of_order": 1}
    assert values(storage) == [(10.0, 1.0)]


def test_same_sample_twice_is_harmless_and_another_value_is_refused():
    storage = Storage()
    storage.append(X, 10, 1.0)
    assert storage.append(X, 10, 1.0)
    assert not storage.append(X, 10, 2.0)
    assert storage.refused == {"duplicate": 1}
    assert values(storage) == [(10.0, 1.0)]


def test_nan_twice_is_the_same_but_staleness_is_not():
    storage = Storage()
    storage.append(X, 10, math.nan)
    assert storage.append(X, 10, math.nan)
    assert not storage.append(X, 10, STALE)


def test_window_includes_both_ends():
    storage = Storage()
    for t in (1.0, 2.0, 3.0, 4.0):
        storage.append(X, t, t)
    (found,) = storage.select(equals(__name__="x"), 2, 3)
    assert found.values.tolist() == [2.0, 3.0]


def test_view_that_was_handed_out_does_not_change():
    storage = Storage(retention=50)
    for t in range(30):
        storage.append(X, t, float(t))
    (found,) = storage.select(equals(__name__="x"), 0, 100)
    for t in range(30, 500):
        storage.append(X, t, float(t))
    assert found.values.tolist() == [float(t) for t in range(30)]


@pytest.mark.parametrize(
    ("matcher", "pods"),
    [
        pytest.param(Matcher("zone", MatchOp.EQUAL, "z1"), "a", id="equal"),
        pytest.param(Matcher("zone", MatchOp.EQUAL, ""), "c", id="absent"),
        pytest.param(Matcher("zone", MatchOp.NOT_EQUAL, ""), "ab", id="present"),
        pytest.param(Matcher("zone", MatchOp.NOT_EQUAL, "z1"), "bc", id="not equal"),
        pytest.param(Matcher("zone", MatchOp.REGEX, "z.*"), "ab", id="regex"),
        pytest.param(Matcher("zone", MatchOp.REGEX, "z1|"), "ac", id="regex of nothing"),
        pytest.param(Matcher("zone", MatchOp.NOT_REGEX, "z.*"), "c", id="not regex"),
        pytest.param(Matcher("nothing", MatchOp.EQUAL, ""), "abc", id="unknown label"),
    ],
)
def test_matchers_select(matcher, pods):
    storage = Storage()
    storage.append(named("x", pod="b", zone="z2"), 1, 1.0)
    storage.append(named("x", pod="a", zone="z1"), 1, 1.0)
    storage.append(named("x", pod="c"), 1, 1.0)
    found = storage.series((*equals(__name__="x"), matcher))
    assert "".join(labels.get("pod") for labels in found) == pods


def test_labels_are_listed_sorted():
    storage = Storage()
    storage.append(named("y", b="2"), 1, 1.0)
    storage.append(named("x", a="1"), 1, 1.0)
    assert storage.label_names() == ["__name__", "a", "b"]
    assert storage.label_values("__name__") == ["x", "y"]
    assert storage.label_names(equals(__name__="x")) == ["__name__", "a"]
    assert storage.label_values("b", equals(__name__="x")) == []


def test_series_can_be_asked_for_by_time():
    storage = Storage()
    storage.append(named("old"), 10, 1.0)
    storage.append(named("new"), 100, 1.0)
    assert storage.series((), 50, 200) == [named("new")]
    assert storage.series((), 0, 50) == [named("old")]


def test_ended_series_does_not_count_and_is_not_the_newest():
    storage = Storage()
    storage.append(X, 10, 1.0)
    storage.append(named("x", pod="b"), 12, 1.0)
    storage.mark_stale(named("x", pod="b"), 15)
    assert storage.series_count(equals(__name__="x")) == 1
    assert storage.newest(equals(__name__="x")) == 10.0
    assert storage.newest(equals(__name__="y")) is None


def test_marking_stale_twice_leaves_one_marker():
    storage = Storage()
    storage.append(X, 10, 1.0)
    storage.mark_stale(X, 11)
    storage.mark_stale(X, 12)
    assert [is_stale(v) for _, v in values(storage)] == [False, True]


def test_samples_beyond_retention_go():
    storage = Storage(retention=100)
    for t in range(0, 1000, 5):
        storage.append(X, t, float(t))
    oldest = values(storage)[0][0]
    assert 995 - 110 <= oldest <= 995 - 100


def test_churn_of_series_does_not_leak():
    storage = Storage(retention=60)
    taken = []
    for t in range(0, 20_000, 5):
        storage.append(named("x", pod=f"pod-{t // 50}"), t, 1.0)
        taken.append(storage.memory_bytes())
    assert len(storage.label_values("pod")) < 12
    assert max(taken) == max(taken[:100]) < 70_000
    assert len(storage._last_ms) == 64  # slots are used again


def test_memory_stays_below_its_limit_and_the_oldest_go_first():
    storage = Storage(retention=1e9, max_bytes=200_000)
    for t in range(0, 100_000, 5):
        storage.append(X, t, float(t))
    assert storage.memory_bytes() <= 220_000
    kept = values(storage)
    assert kept[-1] == (99_995.0, 99_995.0)
    assert len(kept) > 2000  # of 16 bytes each, besides the rows of recent ones


def test_look_back_window_survives_a_memory_limit_that_is_too_small():
    storage = Storage(retention=1e9, max_bytes=1)
    for t in range(0, 10_000, 5):
        storage.append(X, t, float(t))
    assert values(storage)[0][0] <= 9995 - 300


def test_label_bomb_is_refused():
    storage = Storage(max_series=10)
    taken = [storage.append(named("x", i=str(i)), 1, 1.0) for i in range(15)]
    assert sum(taken) == 10
    assert storage.refused == {"too_many_series": 5}


def test_slot_of_a_forgotten_series_starts_empty():
    storage = Storage()
    storage.append(X, 100, 1.0)
    storage.drop_before(200)
    assert storage.series_count() == 0
    assert storage.append(named("y"), 50, 2.0)
    assert values(storage, named("y")) == [(50.0, 2.0)]


def test_snapshot_keeps_everything(tmp_path):
    storage = Storage()
    storage.metadata["x"] = Metadata("gauge", "help")
    for t in range(50):
        storage.append(X, 1000 + t, float(t))
        storage.append(named("y", p='"'), 1000 + t, math.nan if t % 2 else -math.inf)
    storage.mark_stale(X, 1100)
    snapshot.save(storage, tmp_path / "metrics")
    restored = Storage()
    assert snapshot.load(restored, tmp_path / "metrics") == 2
    assert restored.series() == storage.series()
    assert restored.metadata == storage.metadata
    for before, after in zip(
        storage.select((), 0, 1e10), restored.select((), 0, 1e10), strict=True
    ):
        assert np.array_equal(before.times, after.times)
        assert np.array_equal(before.values.view(np.int64), after.values.view(np.int64))
    assert not restored.append(X, 1050, 1.0)
    assert restored.append(X, 1200, 1.0)
    assert restored.series_count() == 2


def test_snapshot_that_is_not_there_is_no_error(tmp_path):
    assert snapshot.load(Storage(), tmp_path) == 0


def test_empty_storage_can_be_saved(tmp_path):
    snapshot.save(Storage(), tmp_path)
    assert snapshot.load(Storage(), tmp_path) == 0


@pytest.mark.parametrize("file", ["samples.npz", "series.json"])
def test_damaged_snapshot_is_refused(tmp_path, file):
    storage = Storage()
    storage.append(X, 1, 1.0)
    snapshot.save(storage, tmp_path)
    (tmp_path / file).write_bytes((tmp_path / file).read_bytes()[:30])
    with pytest.raises(InputError, match="snapshot"):
        snapshot.load(Storage(), tmp_path)


def test_files_of_two_snapshots_do_not_fit(tmp_path):
    small, large = Storage(), Storage()
    small.append(X, 1, 1.0)
    large.append(X, 1, 1.0)
    large.append(X, 2, 1.0)
    snapshot.save(small, tmp_path / "a")
    snapshot.save(large, tmp_path / "b")
    (tmp_path / "b/series.json").replace(tmp_path / "a/series.json")
    with pytest.raises(InputError, match="torn"):
        snapshot.load(Storage(), tmp_path / "a")


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(0, 2000), st.integers(0, 3)), max_size=60
    )
)
def test_storage_keeps_what_a_plain_dictionary_would(appends):
    storage, expected = Storage(retention=1e9), {}
    for pod, t, value in appends:
        kept = expected.setdefault(pod, {})
        last = max(kept, default=-1)
        taken = t > last or kept.get(t) == value if t >= last else False
        assert storage.append(named("x", pod=pod), t, float(value)) is taken
        if taken:
            kept[t] = value
    for pod, kept in expected.items():
        assert values(storage, named("x", pod=pod)) == [
            (float(t), float(v)) for t, v in kept.items()
        ]
