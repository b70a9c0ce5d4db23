"""``ExportMetricsServiceRequest`` and its answer, in protobuf and in JSON."""

from __future__ import annotations

import zlib
from typing import Any, Final

from stoker.errors import InputError, MachineError

MAX_MESSAGE_BYTES: Final = 16 * 2**20  # after decompression
METHOD: Final = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
INVALID_ARGUMENT: Final = 3  # of gRPC's codes
_NEEDS: Final = "OTLP needs protobuf messages that are not installed"


def messages() -> Any:
    """The generated module. Raises MachineError without the extra."""
    try:
        from opentelemetry.proto.collector.metrics.v1 import (  # noqa: PLC0415 - an extra
            metrics_service_pb2,
        )
    except ImportError as error:
        raise MachineError(_NEEDS, hint="pip install 'stoker[grpc]'") from error
    return metrics_service_pb2


def from_protobuf(body: bytes) -> Any:
    """A request. Raises InputError."""
    from google.protobuf.message import DecodeError  # noqa: PLC0415 - an extra

    request = messages().ExportMetricsServiceRequest()
    try:
        request.ParseFromString(body)
    except DecodeError as error:
        raise InputError(f"not an ExportMetricsServiceRequest: {error}") from None
    return request


def from_json(body: bytes) -> Any:
    """A request in OTLP's JSON: lowerCamelCase names, 64-bit integers as numbers or strings.

    Raises InputError.
    """
    from google.protobuf.json_format import Parse, ParseError  # noqa: PLC0415 - an extra

    request = messages().ExportMetricsServiceRequest()
    try:
        text = body.decode("utf-8")
        Parse(text, request, ignore_unknown_fields=True)
    except UnicodeDecodeError:
        raise InputError("the JSON is not UTF-8") from None
    except (ParseError, RecursionError, ValueError) as error:
        raise InputError(f"not an ExportMetricsServiceRequest in JSON: {error}") from None
    return request


def response(rejected: int, message: str) -> Any:
    """The answer to a request that was taken, wholly or in part."""
    answer = messages().ExportMetricsServiceResponse()
    if rejected or message:
        answer.partial_success.rejected_data_points = rejected
        answer.partial_success.error_message = message
    return answer


def to_json(message: Any) -> str:
    """A message in OTLP's JSON."""
    from google.protobuf.json_format import MessageToJson  # noqa: PLC0415 - an extra

    return MessageToJson(message, indent=None)


def status(code: int, message: str) -> bytes:
    """A ``google.rpc.Status``: the body of every refusal over HTTP."""
    text = message.encode()
    size = bytearray()
    rest = len(text)
    while rest >= 0x80:
        size.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes([0x08, code, 0x12, *size, rest]) + text


def gunzip(body: bytes) -> bytes:
    """The content of a gzip stream. Raises InputError for damage and for bombs."""
    unpack = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        content = unpack.decompress(body, MAX_MESSAGE_BYTES + 1)
    except zlib.error as error:
        raise InputError(f"damaged gzip: {error}") from None
    if len(content) > MAX_MESSAGE_BYTES:
        raise TooLargeError(f"more than {MAX_MESSAGE_BYTES} bytes after decompression")
    if not unpack.eof:
        raise InputError("damaged gzip: it ends too early")
    return content


class TooLargeError(InputError):
    """A message beyond the limit."""
