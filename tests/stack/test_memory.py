"""The garbage collector of a live run."""

from __future__ import annotations

import gc

import pytest

from stoker.stack.memory import calm_collector


@pytest.fixture
def _default_collector():
    before = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


@pytest.mark.usefixtures("_default_collector")
def test_what_is_loaded_is_out_of_sight_and_cycles_are_still_found() -> None:
    frozen = gc.get_freeze_count()

    calm_collector()

    assert gc.get_freeze_count() > frozen
    assert gc.isenabled()
    cycle: list[object] = []
    cycle.append(cycle)
    del cycle
    assert gc.collect(0) > 0
