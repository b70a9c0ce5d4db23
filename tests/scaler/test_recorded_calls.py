"""The calls that a real KEDA made, made again: the same requests, in the same order and time."""

from __future__ import annotations

import gzip
import json
import math
from collections import defaultdict
from pathlib import Path

import pytest

grpc = pytest.importorskip("grpc")

from stoker.protocols.externalscaler_pb2 import GetMetricsRequest, ScaledObjectRef  # noqa: E402

from .conftest import NOW, sampler  # noqa: E402

CALLS = Path(__file__).parents[1] / "data" / "external_scaler" / "rpcs.jsonl.gz"


def recorded() -> list[dict]:
    with gzip.open(CALLS, "rt") as lines:
        return sorted((json.loads(line) for line in lines), key=lambda call: call["t"])


def seen_by_keda(values: list[dict]) -> float:
    """Doubles above 0 win over integers; what is negative or no number is 0; several are summed."""
    total = 0.0
    for one in values:
        number = float(one.get("metricValueFloat") or 0)
        if not number > 0:
            number = float(one.get("metricValue", 0))
        total += max(number, 0.0) if math.isfinite(number) else 0.0
    return total


def script(source, call: dict) -> None:
    """Put the source into the state that the recorded answer tells of."""
    answer = call["answer"]
    if not isinstance(answer, dict):
        return
    source.error = answer["error"]["msg"] if "error" in answer else None
    if "values" in answer:
        source.value = seen_by_keda(answer["values"]) if answer["values"] else 0.0
    if "result" in answer:
        source.active = answer["result"]


@pytest.mark.timeout(120)
async def test_every_recorded_call_is_answered_as_it_has_to_be(serve):
    calls = recorded()
    names = {one["scaledobject"] for one in calls}
    samplers = {name: sampler(name, max_age=0.0) for name in names}
    serving = await serve(*samplers.values())
    specs, streams, done = defaultdict(set), {}, defaultdict(int)
    for call in calls:
        name, rpc = call["scaledobject"], call["rpc"]
        now = NOW + call["t"] + 100
        serving.clock.set(now)
        one = samplers[name]
        script(one._triggers[0], call)
        await one.sample(now)
        ref = ScaledObjectRef(
            name=name, namespace=call["namespace"], scalerMetadata=call["scalerMetadata"]
        )
        failing = isinstance(call["answer"], dict) and "error" in call["answer"]
        if rpc == "GetMetricSpec":  # must never fail
            answer = await serving.client.get_metric_spec(ref, timeout=1)
            (spec,) = answer.metricSpecs
            specs[name].add((spec.metricName, spec.targetSizeFloat, spec.targetSize))
        elif rpc == "StreamIsActive":
            if call["answer"] == "opened":
                streams[name] = serving.client.stream_is_active(ref)
                await anext(streams[name].__aiter__())
            elif call["answer"] == "client closed" and name in streams:
                streams.pop(name).cancel()
        elif failing:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await _ask(serving, rpc, ref)
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
            assert refused.value.details() == call["answer"]["error"]["msg"]
        else:
            answer = await _ask(serving, rpc, ref)
            if rpc == "IsActive":
                assert answer is call["answer"]["result"]
            else:
                values = [
                    {"metricValue": v.metricValue, "metricValueFloat": v.metricValueFloat}
                    for v in answer.metricValues
                ]
                assert seen_by_keda(values) == seen_by_keda(call["answer"]["values"])
        done[rpc] += 1
    assert done == {
        "GetMetricSpec": 1934,
        "GetMetrics": 1839,
        "IsActive": 1790,
        "StreamIsActive": 31,
    }
    assert {len(told) for told in specs.values()} == {1}  # stable names and targets
    for stream in streams.values():
        stream.cancel()


async def _ask(serving, rpc: str, ref: ScaledObjectRef):
    if rpc == "IsActive":
        return await serving.client.is_active(ref, timeout=1)
    request = GetMetricsRequest(scaledObjectRef=ref, metricName=f"{ref.name}-t0")
    return await serving.client.get_metrics(request, timeout=1)
