"""Judging a trigger without its secrets."""

from __future__ import annotations

import pytest

from stoker.errors import InputError
from stoker.scaling.spec import TriggerSpec
from stoker.triggers.assumptions import build_assuming, certain_problem
from stoker.triggers.base import TriggerContext

LIST_LENGTH = (
    'error parsing redis metadata: unable to set param "listLength" value "two": unable to '
    "unmarshal to field type int64: invalid character 't' looking for beginning of value"
)
NO_ADDRESS = (
    "error parsing redis metadata: no addresses or hosts given. address should be a comma "
    "separated list of host:port or set the host/port values"
)
CONTEXT = TriggerContext(lambda _: None)


def spec(type_: str, *, ref: bool = False, **metadata: str) -> TriggerSpec:
    return TriggerSpec(0, type_, metadata, authentication_ref="ta" if ref else None)


@pytest.mark.parametrize(
    "trigger",
    [
        spec("redis", addressFromEnv="A", listName="q"),
        spec("redis", ref=True, listName="q"),
        spec("redis", hostFromEnv="A", portFromEnv="B", listName="q"),
        spec("rabbitmq", hostFromEnv="A", queueName="q"),
        spec("rabbitmq", ref=True, queueName="q", mode="MessageRate", value="1"),
        spec(
            "prometheus", ref=True, authModes="basic,tls", serverAddress="http://h", query="q",
            threshold="1",
        ),
        spec(
            "metrics-api", ref=True, authMode="bearer", url="u", valueLocation="a",
            targetValue="1",
        ),
        spec("external", ref=True, scalerAddress="a:1"),
    ],
)  # fmt: skip
def test_what_only_the_environment_knows_is_no_problem(trigger: TriggerSpec) -> None:
    assert certain_problem(trigger, CONTEXT) is None
    assert build_assuming(trigger, CONTEXT).metric_name.startswith("s0-")


@pytest.mark.parametrize(
    ("trigger", "problem"),
    [
        (
            spec("redis", addressFromEnv="A", listLength="two", listName="q"),
            LIST_LENGTH,
        ),
        (
            spec("redis", listName="q"),
            NO_ADDRESS,
        ),
        (spec("kafka"), "trigger type `kafka` is not supported yet"),
    ],
)
def test_the_rest_is(trigger: TriggerSpec, problem: str) -> None:
    assert certain_problem(trigger, CONTEXT) == problem
    with pytest.raises(InputError):
        build_assuming(trigger, CONTEXT)
