"""The short form of ``make fuzz``: anything from anybody, and the same bytes in other pieces."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.gateway.fuzzing.scenes import compare, play, remember


@settings(max_examples=150, deadline=None)
@given(st.randoms(use_true_random=False))
def test_whatever_comes_both_sides_get_http_and_the_books_balance(rng):
    play(rng)


@settings(max_examples=150, deadline=None)
@given(st.randoms(use_true_random=False))
def test_where_bytes_are_cut_changes_nothing(rng):
    compare(rng)


@settings(max_examples=200, deadline=None)
@given(st.randoms(use_true_random=False))
def test_what_was_read_once_is_taken_as_if_it_were_read_again(rng):
    remember(rng)


@pytest.mark.parametrize("scene", [play, compare, remember])
def test_a_seed_names_a_scene(scene):
    """What `make fuzz` has found can be played again."""
    for seed in range(40):
        scene(Random(seed))
