"""KEDA's five calls over a real socket."""

from __future__ import annotations

import asyncio
import math

import aiohttp
import pytest

grpc = pytest.importorskip("grpc")

from grpc_health.v1 import health_pb2, health_pb2_grpc  # noqa: E402
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc  # noqa: E402
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from stoker.protocols.externalscaler_pb2 import GetMetricsRequest, ScaledObjectRef  # noqa: E402
from stoker.scaler.service import REFRESH, specs_of, value_of  # noqa: E402
from stoker.scaling.spec import ScalingModifiers  # noqa: E402

from .conftest import NOW, sampler  # noqa: E402


def ref(name: str = "llama", **metadata: str) -> ScaledObjectRef:
    return ScaledObjectRef(name=name, namespace="ns", scalerMetadata=metadata)


def as_keda(one) -> float:
    """What KEDA makes of a value: the double if it is above 0, else the integer."""
    return one.metricValueFloat if one.metricValueFloat > 0 else float(one.metricValue)


async def get(serving, name: str, ref=ref()):  # noqa: B008 - a message, not changed
    answer = await serving.client.get_metrics(
        GetMetricsRequest(scaledObjectRef=ref, metricName=name)
    )
    return as_keda(answer.metricValues[0])


async def test_read_as_keda_makes_it(serve):
    one = sampler()
    (source,) = one._triggers
    source.value, source.active = 12.5, True
    serving = await serve(one)
    (spec,) = (await serving.client.get_metric_spec(ref())).metricSpecs
    assert (spec.metricName, spec.targetSizeFloat, spec.targetSize) == ("llama-t0", 5, 5)
    assert await get(serving, spec.metricName) == 12.5
    assert await serving.client.is_active(ref()) is True


async def test_calls_do_not_reach_the_source(serve):
    one = sampler()
    (source,) = one._triggers
    serving = await serve(one)
    for _ in range(20):
        await get(serving, "llama-t0")
    assert source.reads == 1


async def test_formula_is_one_metric(serve):
    one = sampler(sources=2, modifiers=ScalingModifiers("t0 + 2 * t1", 4.0, activation_target=6.0))
    for source, value in zip(one._triggers, (3.0, 2.0), strict=True):
        source.value, source.active = value, True
    serving = await serve(one)
    (spec,) = (await serving.client.get_metric_spec(ref())).metricSpecs
    assert (spec.metricName, spec.targetSizeFloat) == ("llama-composite-metric", 4)
    assert await get(serving, spec.metricName) == 7
    assert await serving.client.is_active(ref()) is True
    one._triggers[0].value = 2.0
    await one.sample(NOW)
    assert await serving.client.is_active(ref()) is False


async def test_all_triggers_or_the_one_that_is_asked_for(serve):
    one = sampler(sources=2)
    serving = await serve(one)
    names = [spec.metricName for spec in (await serving.client.get_metric_spec(ref())).metricSpecs]
    assert names == ["llama-t0", "llama-t1"]
    (spec,) = (await serving.client.get_metric_spec(ref(trigger="t1"))).metricSpecs
    assert spec.metricName == "llama-t1"
    one._triggers[0].active = True
    await one.sample(NOW)
    assert await serving.client.is_active(ref()) is True
    assert await serving.client.is_active(ref(trigger="t1")) is False


async def test_object_is_named_or_the_caller_or_the_only_one(serve):
    serving = await serve(sampler("a"), sampler("b"))
    for chosen in (ref("a"), ref("x", scaledObject="a")):
        (spec,) = (await serving.client.get_metric_spec(chosen)).metricSpecs
        assert spec.metricName == "a-t0"
    with pytest.raises(grpc.aio.AioRpcError, match="there are: a, b") as refused:
        await serving.client.get_metric_spec(ref("x"))
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    alone = await serve(sampler("a"))
    assert (await alone.client.get_metric_spec(ref("x"))).metricSpecs
    with pytest.raises(grpc.aio.AioRpcError):
        await alone.client.get_metric_spec(ref("a", scaledObject="x"))


@pytest.mark.parametrize(
    ("metadata", "metric", "words"),
    [
        ({"trigger": "nope"}, "llama-t0", "no trigger `nope`, there are: t0"),
        ({}, "q", "no metric `q`, there are: llama-t0"),
    ],
)
async def test_what_is_not_there_is_told_with_what_is(serve, metadata, metric, words):
    serving = await serve(sampler())
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await get(serving, metric, ref(**metadata))
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    assert words in refused.value.details()


async def test_source_that_fails_fails_get_metrics_and_never_the_specs(serve):
    one = sampler(max_age=30)
    (source,) = one._triggers
    source.error = "connection refused"
    serving = await serve(one)
    assert (await serving.client.get_metric_spec(ref())).metricSpecs
    for call in (get(serving, "llama-t0"), serving.client.is_active(ref())):
        with pytest.raises(grpc.aio.AioRpcError, match="connection refused") as refused:
            await call
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_good_value_is_served_on_for_a_while(serve):
    one = sampler(max_age=30)
    (source,) = one._triggers
    source.value = 7.0
    serving = await serve(one)
    source.error = "gone"
    serving.clock.set(NOW + 29)
    await one.sample(NOW + 29)
    assert await get(serving, "llama-t0") == 7
    serving.clock.set(NOW + 30)
    with pytest.raises(grpc.aio.AioRpcError, match="gone"):
        await get(serving, "llama-t0")


async def test_sampler_that_hangs_is_told(serve):
    one = sampler(max_age=30)
    serving = await serve(one)
    serving.clock.set(NOW + 45)
    with pytest.raises(grpc.aio.AioRpcError, match="no sample for 45 s"):
        await get(serving, "llama-t0")


async def test_source_that_hangs_holds_up_nobody(serve):
    one = sampler(sources=2)
    one.timeout = 0.1
    hanging, good = one._triggers
    good.value = 4.0
    hanging.read = lambda _: asyncio.Event().wait()
    serving = await serve(one)
    assert await get(serving, "llama-t1") == 4
    with pytest.raises(grpc.aio.AioRpcError, match=r"no answer within 0\.1 s"):
        await get(serving, "llama-t0")


@settings(deadline=None)
@given(st.floats(allow_nan=True, allow_infinity=True))
def test_values_survive_the_rule_of_double_and_integer(value):
    seen = as_keda(value_of("m", value))
    assert seen == (value if math.isfinite(value) and value > 0 else 0)


@settings(deadline=None)
@given(st.floats(0.001, 1e9))
def test_targets_survive_it_too(target):
    one = sampler()
    one._triggers[0].target = target
    (spec,) = specs_of(one._served()).metricSpecs
    assert spec.targetSizeFloat == target
    assert spec.targetSize >= 1


async def test_stream_says_what_is_and_each_change(serve):
    one = sampler()
    (source,) = one._triggers
    serving = await serve(one)
    stream = serving.client.stream_is_active(ref()).__aiter__()
    assert (await anext(stream)).result is False
    for active in (True, False, True):
        source.active = active
        await one.sample(NOW)
        assert (await anext(stream)).result is active
    stream.aclose()


async def test_stream_that_opens_again_says_true_again(serve):
    one = sampler()
    one._triggers[0].active = True
    serving = await serve(one)
    for _ in range(2):
        stream = serving.client.stream_is_active(ref())
        assert (await anext(stream.__aiter__())).result is True
        stream.cancel()
    assert REFRESH > 30  # KEDA's polls keep an active object up in between


async def test_stream_of_specs_says_them_once(serve):
    serving = await serve(sampler())
    stream = serving.client.stream_metric_spec(ref()).__aiter__()
    assert [one.metricName for one in (await anext(stream)).metricSpecs] == ["llama-t0"]
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await anext(stream)


async def test_stop_ends_streams_without_an_error(serve):
    serving = await serve(sampler())
    streams = [serving.client.stream_is_active(ref()), serving.client.stream_metric_spec(ref())]
    iterators = [stream.__aiter__() for stream in streams]
    for iterator in iterators:
        await anext(iterator)
    await serving.server.stop()
    serving.server._tasks = []
    for stream, iterator in zip(streams, iterators, strict=True):
        with pytest.raises(StopAsyncIteration):
            await anext(iterator)
        assert await stream.code() is grpc.StatusCode.OK
    assert serving.server.service.samplers["llama"]._triggers[0].closed


async def test_health_and_reflection(serve):
    serving = await serve(sampler())
    stub = health_pb2_grpc.HealthStub(serving.channel)
    for name in ("", "externalscaler.ExternalScaler"):
        answer = await stub.Check(health_pb2.HealthCheckRequest(service=name))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    reflection = reflection_pb2_grpc.ServerReflectionStub(serving.channel)
    call = reflection.ServerReflectionInfo()
    await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
    services = {one.name for one in (await call.read()).list_services_response.service}
    assert "externalscaler.ExternalScaler" in services
    await call.write(
        reflection_pb2.ServerReflectionRequest(
            file_containing_symbol="externalscaler.GetMetricsRequest"
        )
    )
    assert (await call.read()).file_descriptor_response.file_descriptor_proto
    call.cancel()


async def test_page_tells_calls_values_and_failures(serve):
    one = sampler()
    one._triggers[0].value = 3.0
    serving = await serve(one, metrics_port=0)
    await get(serving, "llama-t0")
    one._triggers[0].error = "gone"
    await one.sample(NOW)
    url = f"http://127.0.0.1:{serving.server.metrics_port}/metrics"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        lines = (await answer.text()).splitlines()
    assert 'stoker_scaler_calls_total{method="GetMetrics",code="OK"} 1' in lines
    labels = 'scaledobject="llama",metric="llama-t0"'
    assert f"stoker_scaler_metric_value{{{labels}}} 3" in lines
    assert 'stoker_scaler_source_failures_total{scaledobject="llama"} 1' in lines
