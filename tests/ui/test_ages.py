from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.ui.ages import age, human_duration

DAY = 86400


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.9, "0s"),
        (-1.5, "0s"),
        (-2, "<invalid>"),
        (119.9, "119s"),
        (120, "2m"),
        (150, "2m30s"),
        (599, "9m59s"),
        (600, "10m"),
        (3 * 3600 - 1, "179m"),
        (3 * 3600, "3h"),
        (5 * 3600 + 61, "5h1m"),
        (8 * 3600, "8h"),
        (2 * DAY - 1, "47h"),
        (2 * DAY, "2d"),
        (3 * DAY + 3600, "3d1h"),
        (8 * DAY, "8d"),
        (730 * DAY, "2y"),
        (800 * DAY, "2y70d"),
        (8 * 365 * DAY, "8y"),
    ],
)
def test_durations_are_as_short_as_kubectl_makes_them(seconds, text):
    assert human_duration(seconds) == text


@given(st.floats(min_value=0, max_value=1e10))
def test_a_duration_never_needs_more_than_seven_characters(seconds):
    assert len(human_duration(seconds)) <= 7


def test_the_age_of_something_without_a_time_is_unknown():
    assert age(None, 0.0) == "<unknown>"


def test_the_age_of_a_timestamp_is_counted_to_now():
    assert age("1970-01-01T00:00:10Z", 55.0) == "45s"
