"""The external scaler's calls over a real socket, and that the generated code is of its source."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from grpc_tools import protoc

from stoker.protocols import externalscaler_pb2 as messages
from stoker.protocols.externalscaler import Client, handler

SOURCES = Path(messages.__file__).parents[2]


class Scaler:
    """Says its own name back."""

    async def is_active(self, request: Any, _context: Any) -> messages.IsActiveResponse:
        return messages.IsActiveResponse(result=request.name == "on")

    async def stream_is_active(self, _request: Any, _context: Any) -> AsyncIterator[Any]:
        for result in (True, False):
            yield messages.IsActiveResponse(result=result)

    async def get_metric_spec(self, request: Any, _context: Any) -> messages.GetMetricSpecResponse:
        target = float(request.scalerMetadata["target"])
        spec = messages.MetricSpec(metricName="m", targetSize=2, targetSizeFloat=target)
        return messages.GetMetricSpecResponse(metricSpecs=[spec])

    async def get_metrics(self, request: Any, context: Any) -> messages.GetMetricsResponse:
        if request.metricName != "m":
            await context.abort(grpc.StatusCode.NOT_FOUND, f"no metric {request.metricName}")
        value = messages.MetricValue(metricName="m", metricValueFloat=7.5)
        return messages.GetMetricsResponse(metricValues=[value])

    async def stream_metric_spec(self, request: Any, context: Any) -> AsyncIterator[Any]:
        yield await self.get_metric_spec(request, context)


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((handler(Scaler()),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield Client(channel)
    await server.stop(None)


async def test_every_call_goes_through(client: Client) -> None:
    ref = messages.ScaledObjectRef(name="on", namespace="ns", scalerMetadata={"target": "2.5"})
    request = messages.GetMetricsRequest(scaledObjectRef=ref, metricName="m")

    assert await client.is_active(ref)
    assert not await client.is_active(messages.ScaledObjectRef(name="off"))
    assert [answer.result async for answer in client.stream_is_active(ref)] == [True, False]
    assert (await client.get_metric_spec(ref)).metricSpecs[0].targetSizeFloat == 2.5
    assert (await client.get_metrics(request)).metricValues[0].metricValueFloat == 7.5
    async for answer in client.stream_metric_spec(ref):
        assert answer.metricSpecs[0].metricName == "m"


async def test_a_refusal_keeps_its_code_and_words(client: Client) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.get_metrics(messages.GetMetricsRequest(metricName="x"))

    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert caught.value.details() == "no metric x"


def test_the_generated_messages_are_those_of_the_source(tmp_path: Path) -> None:
    """Otherwise: `make protos`."""
    for source in sorted((SOURCES / "stoker" / "protocols").glob("*.proto")):
        out = tmp_path / f"{source.stem}.set"
        name = str(source.relative_to(SOURCES))
        arguments = ["protoc", f"-I{SOURCES}", f"--descriptor_set_out={out}", name]
        assert protoc.main(arguments) == 0
        (compiled,) = FileDescriptorSet.FromString(out.read_bytes()).file
        generated = FileDescriptorProto()
        messages.DESCRIPTOR.CopyToProto(generated)
        assert _without_json_names(compiled) == _without_json_names(generated)


def _without_json_names(file: FileDescriptorProto) -> FileDescriptorProto:
    for message in file.message_type:
        for field in [*message.field, *(f for inner in message.nested_type for f in inner.field)]:
            field.ClearField("json_name")
    return file
