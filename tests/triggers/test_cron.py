"""Cron schedules as robfig's parser reads them, and KEDA's cron trigger."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.errors import InputError
from stoker.scaling.spec import TriggerSpec
from stoker.triggers.base import TriggerContext
from stoker.triggers.cron.schedule import NEVER, Schedule, location
from stoker.triggers.registry import build_trigger

BERLIN = ZoneInfo("Europe/Berlin")
OFFICE = {
    "timezone": "Europe/Berlin",
    "start": "0 8 * * 1-5",
    "end": "0 18 * * 1-5",
    "desiredReplicas": "4",
}


def at(text: str, zone: ZoneInfo | None = None) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone or UTC).timestamp()


def upcoming(schedule: str, now: str, zone: ZoneInfo | None = None) -> str:
    found = Schedule.parse(schedule).next(at(now, zone), zone or UTC)
    return datetime.fromtimestamp(found, zone or UTC).strftime("%a %Y-%m-%d %H:%M")


def build(**metadata: str) -> object:
    return build_trigger(
        TriggerSpec(0, "cron", {**OFFICE, **metadata}), TriggerContext(query_for=lambda _: None)
    )


@pytest.mark.parametrize(
    ("schedule", "now", "expected"),
    [
        pytest.param("0 8 * * *", "2026-03-02T08:00:00", "Tue 2026-03-03 08:00", id="after now"),
        pytest.param("*/15 * * * *", "2026-03-02T08:01", "Mon 2026-03-02 08:15", id="step"),
        pytest.param("5/20 * * * *", "2026-03-02T08:06", "Mon 2026-03-02 08:25", id="open step"),
        pytest.param("0 8 * * sun", "2026-03-02T08:01", "Sun 2026-03-08 08:00", id="name"),
        pytest.param("0 0 1 jan ?", "2026-03-02T08:01", "Fri 2027-01-01 00:00", id="question"),
        pytest.param("0 0 29 2 *", "2026-03-02T08:01", "Tue 2028-02-29 00:00", id="leap day"),
        pytest.param("0 0 13 * 5", "2026-03-02T00:00", "Fri 2026-03-06 00:00", id="day or weekday"),
        pytest.param("0 0 */13 * 5", "2026-03-02T00:00", "Fri 2026-03-06 00:00", id="no star: or"),
        pytest.param("0 0 * * 5", "2026-03-02T00:00", "Fri 2026-03-06 00:00", id="star: and"),
        pytest.param("0,30 8-9 * * *", "2026-03-02T08:30", "Mon 2026-03-02 09:00", id="list"),
    ],
)
def test_the_next_moment_is_robfigs(schedule: str, now: str, expected: str) -> None:
    assert upcoming(schedule, now) == expected


def test_a_skipped_hour_has_no_moment() -> None:
    assert upcoming("30 2 * * *", "2026-03-28T12:00", BERLIN) == "Mon 2026-03-30 02:30"


def test_a_repeated_hour_has_each_moment_twice() -> None:
    schedule = Schedule.parse("30 2 * * *")
    first = schedule.next(at("2026-10-25T00:00", BERLIN), BERLIN)

    assert schedule.next(first, BERLIN) - first == 3600


def test_a_day_that_never_comes_is_never() -> None:
    assert Schedule.parse("0 0 30 2 *").next(at("2026-03-02T00:00"), UTC) == NEVER


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "empty spec string"),
        ("0 8 * *", "expected exactly 5 fields, found 4: [0 8 * *]"),
        ("@daily", "parser does not accept descriptors: @daily"),
        ("60 8 * * *", "end of range (60) above maximum (59): 60"),
        ("0 8 0 * *", "beginning of range (0) below minimum (1): 0"),
        ("0 8 * * 7", "end of range (7) above maximum (6): 7"),
        ("0 9-8 * * *", "beginning of range (9) beyond end of range (8): 9-8"),
        ("*/0 8 * * *", "step of range should be a positive number: */0"),
        ("0 1-2-3 * * *", "too many hyphens: 1-2-3"),
        ("0/1/2 8 * * *", "too many slashes: 0/1/2"),
        ("x 8 * * *", 'failed to parse int from x: strconv.Atoi: parsing "x": invalid syntax'),
        ("TZ=Mars/Base 0 8 * * *", "provided bad location Mars/Base: unknown time zone Mars/Base"),
    ],
)
def test_what_is_no_schedule_is_told_in_robfigs_words(text: str, problem: str) -> None:
    with pytest.raises(InputError) as caught:
        Schedule.parse(text)

    assert caught.value.message == problem


def test_a_schedule_may_bring_its_time_zone() -> None:
    schedule = Schedule.parse("TZ=Asia/Tokyo 0 8 * * *")

    assert schedule.next(at("2026-03-02T00:00"), UTC) == at("2026-03-02T23:00")


@given(
    st.integers(0, 59),
    st.integers(0, 23),
    st.integers(0, 2_000_000_000),
    st.sampled_from(["Europe/Berlin", "America/Sao_Paulo", "Asia/Kolkata", "UTC"]),
)
def test_every_moment_matches_and_none_is_left_out(
    minute: int, hour: int, now: int, zone_name: str
) -> None:
    zone = location(zone_name)
    found = Schedule.parse(f"{minute} {hour} * * *").next(now, zone)
    local = datetime.fromtimestamp(found, zone)

    assert (local.minute, local.hour, local.second) == (minute, hour, 0)
    # a day has at most 25 hours, and one day may lack the hour
    assert now < found <= now + 2 * 25 * 3600


@pytest.mark.parametrize(
    ("now", "value"),
    [
        ("2026-03-02T07:59:59", 0),
        ("2026-03-02T08:00:00", 4),
        ("2026-03-02T17:59:59", 4),
        ("2026-03-02T18:00:00", 0),
        ("2026-03-07T12:00:00", 0),
    ],
)
async def test_is_active_between_start_and_end_in_its_own_time_zone(now: str, value: int) -> None:
    reading = await build().read(at(now, BERLIN))

    assert (reading.value, reading.active, reading.target) == (value, value > 0, 1.0)


async def test_an_end_that_is_a_start_too_keeps_it_active() -> None:
    trigger = build(start="0 8 * * *", end="0 8,18 * * *")

    assert (await trigger.read(at("2026-03-02T20:00", BERLIN))).active
    assert (await trigger.read(at("2026-03-02T17:00", BERLIN))).active


async def test_tells_until_when() -> None:
    reading = await build().read(at("2026-03-02T12:00", BERLIN))

    assert reading.source == "0 8 * * 1-5 to 0 18 * * 1-5 (Europe/Berlin)"
    assert reading.answer == "active until 2026-03-02T17:00:00Z"


def test_has_kedas_metric_name() -> None:
    trigger = build(start="*/5 8 ? * 1,2")

    assert trigger.metric_name == "s0-cron-Europe-Berlin-xSl58Qmx1Cm2-018xx1-5"


async def test_an_unknown_time_zone_fails_the_read_and_not_the_file() -> None:
    # seen: KEDA 2.20.2 makes the HPA of such a trigger, and Ready is False with TriggerError
    reading = await build(timezone="Europe/Bermuda").read(0.0)

    assert reading.error == "unable to load timezone. Error: unknown time zone Europe/Bermuda"


@pytest.mark.parametrize(
    ("metadata", "problem"),
    [
        (
            {"start": "0 8 * *"},
            "error parsing start schedule: expected exactly 5 fields, found 4: [0 8 * *]",
        ),
        ({"end": "x"}, "error parsing end schedule: expected exactly 5 fields, found 1: [x]"),
        ({"end": "0 8 * * 1-5"}, "start and end can not have exactly same time input"),
        ({"desiredReplicas": "0"}, "no desiredReplicas specified"),
        (
            {"desiredReplicas": ""},
            (
                'missing required parameter "desiredReplicas" in [triggerMetadata]\n'
                "no desiredReplicas specified"
            ),
        ),
        ({"desiredReplicas": "1.5"}, 'unable to set param "desiredReplicas" value "1.5"'),
        ({"timezone": ""}, 'missing required parameter "timezone" in [triggerMetadata]'),
    ],
)
def test_metadata_that_keda_cannot_build_is_refused(metadata: dict[str, str], problem: str) -> None:
    with pytest.raises(InputError, match=r"^error parsing cron metadata") as caught:
        build(**metadata)

    assert problem in caught.value.message
