"""cpu and memory triggers: KEDA's metadata, and what they ask of the seam."""

from __future__ import annotations

import pytest

from stoker.errors import InputError, StokerError
from stoker.scaling.observation import PodUsage, ResourceUsage
from stoker.scaling.spec import MetricType, TriggerSpec
from stoker.triggers.base import Trigger, TriggerContext, UsageFunction
from stoker.triggers.registry import build_trigger


def build(
    type_: str = "cpu",
    metric_type: MetricType = MetricType.UTILIZATION,
    usage: UsageFunction | None = None,
    **metadata: str,
) -> Trigger:
    spec = TriggerSpec(1, type_, metadata, metric_type=metric_type)
    return build_trigger(spec, TriggerContext(query_for=lambda _: None, pod_usage=usage))


def two_pods(resource: str, container: str, now: float) -> ResourceUsage:
    pods = (PodUsage("a", 500, now, 15.0), PodUsage("b", 1500, now, 15.0))
    return ResourceUsage(resource, now, container, pods, (("a", 1000), ("b", 1000)))


@pytest.mark.parametrize(
    ("metric_type", "value", "target"),
    [
        (MetricType.UTILIZATION, "60", 60.0),
        (MetricType.AVERAGE_VALUE, "500m", 0.5),
        (MetricType.AVERAGE_VALUE, "1Gi", 2.0**30),
    ],
)
def test_the_target_is_a_percentage_or_a_quantity(
    metric_type: MetricType, value: str, target: float
) -> None:
    assert build("memory", metric_type, value=value).target == target


@pytest.mark.parametrize(
    ("metric_type", "metadata", "problem"),
    [
        (MetricType.UTILIZATION, {}, 'missing required parameter "value" in [triggerMetadata]'),
        (MetricType.UTILIZATION, {"value": "0"}, "must be greater than 0"),
        (MetricType.UTILIZATION, {"value": "-5"}, "must be greater than 0"),
        (MetricType.UTILIZATION, {"value": "60%"}, 'strconv.ParseInt: parsing "60%"'),
        (MetricType.AVERAGE_VALUE, {"value": "0"}, "must be positive"),
        (MetricType.AVERAGE_VALUE, {"value": "1 core"}, "is not a quantity"),
        (
            MetricType.VALUE,
            {"value": "60"},
            "unknown metric type: Value, allowed values are 'Utilization' or 'AverageValue'",
        ),
        (
            MetricType.UTILIZATION,
            {"type": "Utilization", "value": "60"},
            "scaler cpu info: The 'type' setting is DEPRECATED and is removed in v2.18",
        ),
    ],
)
def test_metadata_that_keda_or_the_api_server_refuses(
    metric_type: MetricType, metadata: dict[str, str], problem: str
) -> None:
    with pytest.raises(InputError, match=r"^error parsing cpu metadata") as caught:
        build("cpu", metric_type, **metadata)

    assert problem in caught.value.message


async def test_a_reading_carries_what_each_pod_uses() -> None:
    reading = await build(usage=two_pods, value="60", containerName="vllm").read(1000.0)

    assert reading.resource == two_pods("cpu", "vllm", 1000.0)
    assert (reading.value, reading.answer) == (1.0, "1 on average of 2 pods")
    assert (reading.metric_name, reading.source) == ("cpu", "cpu of container vllm")
    assert not reading.active


async def test_a_failing_seam_is_an_error_of_the_reading() -> None:
    def fails(resource: str, container: str, now: float) -> ResourceUsage:
        raise StokerError(f"{resource} {container} {now}", hint="look")

    reading = await build(usage=fails, value="60").read(1.0)

    assert (reading.value, reading.error, reading.answer) == (None, "cpu  1.0", "look")
    assert reading.resource == ResourceUsage("cpu", 1.0)


@pytest.mark.parametrize(
    ("usage", "problem"),
    [
        (None, "the server could not find the requested resource"),
        (
            lambda resource, container, now: ResourceUsage(resource, now, container),
            "no metrics returned from resource metrics API",
        ),
    ],
    ids=["no seam", "no pods"],
)
async def test_nothing_known_is_an_error(usage: UsageFunction | None, problem: str) -> None:
    assert (await build(usage=usage, value="60").read(1.0)).error == problem
