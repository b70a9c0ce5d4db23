"""kubernetes-workload, and the label selectors that it takes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.errors import InputError
from stoker.scaling.spec import TriggerSpec
from stoker.triggers.base import PodFacts, TriggerContext
from stoker.triggers.workload import WorkloadTrigger
from stoker.triggers.workload.selector import Selector

PODS = (
    PodFacts("default", {"app": "a", "tier": "x"}, "Running"),
    PodFacts("default", {"app": "a"}, "Pending"),
    PodFacts("default", {"app": "a"}, "Succeeded"),
    PodFacts("default", {"app": "b"}, "Running"),
    PodFacts("other", {"app": "a"}, "Running"),
)


def trigger(*, in_formula: bool = False, **metadata: str) -> WorkloadTrigger:
    context = TriggerContext(lambda _: None, pods=lambda: PODS, in_formula=in_formula)
    spec = TriggerSpec(1, "kubernetes-workload", {"podSelector": "app=a", "value": "2", **metadata})
    return WorkloadTrigger(spec, context)


async def test_pods_count_that_have_not_ended() -> None:
    reading = await trigger(activationValue="2").read(0.0)

    assert (reading.value, reading.target, reading.active) == (2.0, 2.0, False)
    assert reading.metric_name == "s1-workload-default"


@pytest.mark.parametrize(
    ("namespace", "count", "name"),
    [("other", 1.0, "s1-workload-other"), ("*", 3.0, "s1-workload-"), ("none", 0.0, None)],
)
async def test_of_other_namespaces(namespace: str, count: float, name: str | None) -> None:
    reading = await trigger(namespace=namespace).read(0.0)

    assert reading.value == count
    assert name is None or reading.metric_name == name


async def test_without_anybody_who_knows_pods_it_is_an_error() -> None:
    spec = TriggerSpec(0, "kubernetes-workload", {"podSelector": "a", "value": "1"})
    reading = await WorkloadTrigger(spec, TriggerContext(lambda _: None)).read(0.0)

    assert (reading.value, reading.active) == (None, False)
    assert reading.error is not None


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"value": "0"}, "value must be a float greater than 0"),
        ({"podSelector": ""}, 'missing required parameter "podSelector"'),
        (
            {"podSelector": "app==!x"},
            "error parsing pod selector: unable to parse requirement: found '!', expected: ident",
        ),
    ],
)
def test_what_keda_refuses_is_refused(metadata: dict[str, str], words: str) -> None:
    with pytest.raises(InputError) as caught:
        trigger(**metadata)
    assert words in caught.value.message


def test_a_formula_needs_no_value() -> None:
    assert trigger(in_formula=True, value="0").target == 0.0


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        ("", True),
        ("app=a", True),
        ("app==a", True),
        ("app = a , n > 3", True),
        ("app!=a", False),
        ("none!=a", True),
        ("app in (b, a)", True),
        ("app in ()", False),
        ("app notin (b,c)", True),
        ("none notin (b)", True),
        ("app", True),
        ("!app", False),
        ("!none", True),
        ("n>4", True),
        ("n<5", False),
        ("app>4", False),
        ("x.io/y=z", True),
        ("empty=", True),
        ("empty,app", True),
    ],
)
def test_selectors_match(selector: str, matches: bool) -> None:
    labels = {"app": "a", "n": "5", "x.io/y": "z", "empty": ""}

    assert Selector.parse(selector).matches(labels) is matches


@pytest.mark.parametrize(
    "selector", ["a=b,", "a b", "a in b", "a in (b", "(a)", "a=(b)", "a>b", "=a", "-a", "a,,b"]
)
def test_others_are_refused(selector: str) -> None:
    with pytest.raises(ValueError, match="unable to parse requirement"):
        Selector.parse(selector)


@given(st.text("ab=!,()<> innot", max_size=20))
def test_no_text_breaks_it(text: str) -> None:
    try:
        Selector.parse(text).matches({"a": "b"})
    except ValueError as error:
        assert "unable to parse requirement" in str(error)  # noqa: PT017 - most texts parse
