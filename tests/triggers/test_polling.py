"""What goes around every trigger: the retry, the records, the log, and no secrets anywhere."""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable
from typing import Any

import pytest

from stoker.errors import InputError, StokerError
from stoker.scaling.spec import TriggerSpec
from stoker.triggers.base import QueryAnswer, TriggerContext
from stoker.triggers.parameters import Given, secret_values
from stoker.triggers.polling import PolledTrigger, hidden_texts, hide
from stoker.triggers.registry import SUPPORTED

METADATA = {"serverAddress": "http://prometheus:9090", "query": "q", "threshold": "5"}


class Source:
    """A Prometheus that answers what it is told: a number, or words of an error."""

    def __init__(self, *answers: float | str) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def __call__(self, _query: str, _at: float) -> QueryAnswer:
        self.asked += 1
        answer = self.answers.pop(0)
        if isinstance(answer, str):
            raise StokerError(answer)
        return QueryAnswer("vector", [{"metric": {}, "value": [0, str(answer)]}])


def polled(source: Source, auth: Callable[[], dict[str, str]] = dict, **more: str) -> PolledTrigger:
    def context_for(_spec: TriggerSpec) -> TriggerContext:
        return TriggerContext(lambda _: source, auth=auth())

    spec = TriggerSpec(0, "prometheus", {**METADATA, **more})
    return PolledTrigger(spec, context_for, about="llama")


async def test_a_failed_read_is_tried_once_more_at_once_and_counts_as_good() -> None:
    source = Source("first", 7)
    trigger = polled(source)

    reading = await trigger.read(100.0)

    record = trigger.records["s0-prometheus"]
    assert (reading.value, source.asked) == (7.0, 2)
    assert (record.errors, record.requests, record.last_success) == (0, 1, 100.0)


async def test_two_failures_are_one_error() -> None:
    trigger = polled(Source("first", "second", "third", "fourth", 3))

    assert (await trigger.read(100.0)).error == "second"
    await trigger.read(130.0)
    record = trigger.records["s0-prometheus"]
    assert (record.errors, record.failing_since, record.last_error) == (2, 100.0, "fourth")

    await trigger.read(160.0)
    assert (record.failing_since, record.value, record.last_success) == (None, 3.0, 160.0)


async def test_there_is_one_log_line_a_change_and_none_a_poll(caplog: Any) -> None:
    trigger = polled(Source(1, *["broken"] * 20, 2, 3))
    with caplog.at_level(logging.INFO):
        for poll in range(13):
            await trigger.read(100.0 + 30 * poll)

    assert [record.message for record in caplog.records] == [
        "llama trigger 0 (prometheus), s0-prometheus fails: broken",
        "llama trigger 0 (prometheus), s0-prometheus answers again, after 10 failed reads in 300 s",
    ]


async def test_the_second_try_is_built_with_the_secrets_of_now() -> None:
    tokens = iter(["old", "new", "newer"])
    source = Source("401", "401", "401", 5)
    trigger = polled(source, lambda: {"bearerToken": next(tokens)}, authModes="bearer")

    await trigger.read(0.0)
    assert trigger._trigger is not None
    assert "new" in str(trigger._trigger.parameters.headers)  # type: ignore[attr-defined]


async def test_what_cannot_be_built_any_more_is_an_error_of_the_read() -> None:
    secrets = iter([{"bearerToken": "x"}, {}, {}])
    trigger = polled(Source("401"), lambda: next(secrets), authModes="bearer")

    reading = await trigger.read(0.0)

    assert reading.value is None
    assert reading.error is not None
    assert "bearer token=<empty> is required" in reading.error
    assert reading.target == 5.0


@pytest.mark.parametrize("secret", ["s3cr3t", "a b&c", "line one of it\nline two of it"])
async def test_no_error_and_no_log_line_has_a_secret(secret: str, caplog: Any) -> None:
    encoded = base64.b64encode(secret.strip().encode()).decode()
    words = f"said {secret} and Basic {encoded}"
    trigger = polled(Source(words, words), lambda: {"bearerToken": secret}, authModes="bearer")

    reading = await trigger.read(0.0)

    for text in (
        str(reading),
        caplog.text,
        str(trigger.records),
        str(trigger.__dict__["_trigger"]),
    ):
        for part in (secret, encoded, *secret.splitlines()):
            assert part not in text
    assert reading.error == "said *** and Basic ***"


def test_secrets_are_hidden_in_errors_of_the_file_too() -> None:
    def context_for(_spec: TriggerSpec) -> TriggerContext:
        return TriggerContext(lambda _: None, auth={"host": "stomp://u:hunter22@h"})

    with pytest.raises(InputError) as caught:
        PolledTrigger(TriggerSpec(0, "rabbitmq", {"queueName": "q"}), context_for)

    assert "hunter22" not in str(caught.value)
    assert "unknown host URL scheme" in str(caught.value)


@pytest.mark.parametrize(
    ("type_", "metadata", "auth", "secret"),
    [
        ("redis", {"password": "hunter2"}, {}, "hunter2"),
        ("redis", {"passwordFromEnv": "P"}, {}, "of-a-variable"),
        ("rabbitmq", {"host": "amqp://a:hunter%2F2@h"}, {}, "hunter/2"),
        ("external", {"keyFromEnv": "P"}, {}, "of-a-variable"),
        ("external", {}, {"whatever": "hunter2"}, "hunter2"),
        ("prometheus", {}, {"username": "hunter2"}, "hunter2"),
    ],
)
def test_secrets_are_known_wherever_they_come_from(
    type_: str, metadata: dict[str, str], auth: dict[str, str], secret: str
) -> None:
    given = Given(metadata, auth, {"P": "of-a-variable"})

    assert secret in secret_values(SUPPORTED[type_].PARAMETERS, given)


def test_what_is_no_secret_is_not_hidden() -> None:
    auth = {"tls": "enable", "ca": "pem", "authModes": "basic"}
    given = Given({"addressFromEnv": "A", "listName": "q"}, auth, {"A": "h:1"})

    assert secret_values(SUPPORTED["redis"].PARAMETERS, given) == {"basic"}


def test_short_texts_are_left_alone() -> None:
    assert hide("5 of 15", hidden_texts(["5", " "])) == "5 of 15"


def test_the_context_does_not_show_its_secrets() -> None:
    context = TriggerContext(lambda _: None, auth={"password": "hunter2"}, env={"A": "hunter3"})

    assert "hunter" not in repr(context)
    assert "hunter" not in f"{context.auth} {context.env}"
    assert "password" in repr(context.auth)
