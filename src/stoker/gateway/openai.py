"""The shapes of the OpenAI API as vLLM serves it: paths, what a body says, errors, models."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable
from typing import Any, Final

import orjson

from stoker.gateway.policy import Priority

#: Inference paths of vLLM 0.32 whose body is a JSON object with ``model``.
INFERENCE_PATHS = frozenset(
    {
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/embeddings",
        "/v1/responses",
        "/v1/messages",
        "/v1/messages/count_tokens",
        "/v1/rerank",
        "/v1/score",
        "/v2/rerank",
        "/v1/audio/speech",
        "/classify",
        "/detokenize",
        "/pooling",
        "/rerank",
        "/score",
        "/tokenize",
    }
)
#: Those with a form, of which ``model`` is a field.
FORM_PATHS = frozenset({"/v1/audio/transcriptions", "/v1/audio/translations"})

#: vLLM's administration: it changes a replica, so it is for those who run it.
_ADMINISTRATION = frozenset(
    {
        "abort_requests",
        "collective_rpc",
        "init_weights_update_group",
        "invocations",
        "is_sleeping",
        "pause",
        "reset_encoder_cache",
        "reset_mm_cache",
        "reset_prefix_cache",
        "resume",
        "scale_elastic_ep",
        "server_info",
        "sleep",
        "start_profile",
        "stop_profile",
        "update_weights",
        "v1/load_lora_adapter",
        "v1/unload_lora_adapter",
        "wake_up",
    }
)

PREFIX_BYTES: Final = 512  # of a prompt's beginning, for prefix affinity
_NORMAL: Final = Priority.NORMAL  # an enumeration looks its members up each time
_LOW: Final = Priority.LOW


class Refusal(Exception):  # noqa: N818 - an answer to the client, not a fault of the program
    """A request that the gateway answers itself, in the OpenAI error shape."""

    def __init__(
        self,
        status: int,
        type_: str,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.type = type_
        self.message = message
        self.code = code
        self.param = param
        self.retry_after = retry_after

    @classmethod
    def bad_request(cls, message: str, *, param: str | None = None) -> Refusal:
        """400: the request cannot be understood."""
        return cls(400, "invalid_request_error", message, code="bad_request", param=param)

    @classmethod
    def too_large(cls, limit: int) -> Refusal:
        """413."""
        message = f"The body is longer than {limit} bytes."
        return cls(413, "invalid_request_error", message, code="request_too_large")

    @classmethod
    def unknown_model(cls, name: str, models: Iterable[str]) -> Refusal:
        """404, with the models that there are."""
        known = ", ".join(f"`{model}`" for model in sorted(models)) or "none"
        message = f"The model `{name}` does not exist. Models here: {known}."
        return cls(404, "invalid_request_error", message, code="model_not_found", param="model")

    def body(self) -> bytes:
        """The error as JSON."""
        error = {
            "message": self.message,
            "type": self.type,
            "param": self.param,
            "code": self.code,
        }
        shaped: bytes = orjson.dumps({"error": error})
        return shaped

    def event(self) -> bytes:
        """The error as an event of a stream that has begun."""
        return b"data: " + self.body() + b"\n\n"


class Envelope:
    """What a request's body says to the gateway.

    Attributes:
        model: As the client names it; None: it does not.
        stream: Whether the answer is to come in pieces.
        priority: Of two.
        prefix: The beginning of the prompt.
    """

    __slots__ = ("model", "prefix", "priority", "stream")

    def __init__(
        self, model: str | None, *, stream: bool, priority: Priority, prefix: bytes
    ) -> None:
        self.model = model
        self.stream = stream
        self.priority = priority
        self.prefix = prefix


def read_json(body: bytes, *, prefix: bool) -> Envelope:
    """What the JSON object *body* says; *prefix*: the beginning of its prompt, too.

    Raises:
        Refusal: it is not a JSON object, or ``model`` is not a string.
    """
    try:
        request: Any = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Refusal.bad_request(f"The body is not valid JSON: {error}.") from None
    if not isinstance(request, dict):
        raise Refusal.bad_request("The body must be a JSON object.")
    model = request.get("model")
    if model is not None and not isinstance(model, str):
        raise Refusal.bad_request("`model` must be a string.", param="model")
    priority = request.get("priority")
    # vLLM: the lower the number the earlier; 0 is what those have that say nothing.
    low = priority is not None and isinstance(priority, int) and priority > 0
    return Envelope(
        model,
        stream=request.get("stream") is True,
        priority=_LOW if low else _NORMAL,
        prefix=_beginning(request, body) if prefix else b"",
    )


def _beginning(request: dict[str, Any], body: bytes) -> bytes:
    """The first bytes of the prompt: what two requests share if they share a prefix.

    They are taken from the body as it was written. A client writes the same prompt the same way;
    two clients of different kinds may not, and then have no replica in common.
    """
    name = b'"messages"'
    if not request.get("messages"):
        name = b'"prompt"' if request.get("prompt") else b'"input"' if request.get("input") else b""
    at = body.find(name) if name else -1
    return body[at : at + PREFIX_BYTES] if at >= 0 else b""


_BOUNDARY = re.compile(rb'boundary="?([^";,]{1,70})"?', re.IGNORECASE)
_MODEL_PART = re.compile(rb'name="?model"?\s*(?:;|\r\n|$)', re.IGNORECASE)


def read_form(body: bytes, content_type: bytes) -> Envelope:
    """What the form *body* says (``multipart/form-data``).

    Raises:
        Refusal: it is no such form.
    """
    boundary = _BOUNDARY.search(content_type)
    if not content_type.lower().startswith(b"multipart/form-data") or not boundary:
        raise Refusal.bad_request("The body must be a form: `multipart/form-data; boundary=...`.")
    model, stream = None, False
    for part in body.split(b"--" + boundary.group(1)):
        head, separator, value = part.partition(b"\r\n\r\n")
        if not separator or len(head) > 1024:
            continue
        value = value.removesuffix(b"\r\n")
        if _MODEL_PART.search(head):
            model = value.decode("utf-8", "replace").strip()
        elif b'name="stream"' in head:
            stream = value.strip().lower() in {b"true", b"1"}
    return Envelope(model, stream=stream, priority=_NORMAL, prefix=b"")


def decompress(body: bytes, encoding: bytes, limit: int) -> bytes:
    """The body as it was before ``Content-Encoding`` *encoding*.

    Raises:
        Refusal: it is something else, or longer than *limit*.
    """
    coding = encoding.strip().lower()
    if coding in {b"", b"identity"}:
        return body
    if coding not in {b"gzip", b"x-gzip", b"deflate"}:
        allowed = "gzip, deflate"
        raise Refusal(
            415,
            "invalid_request_error",
            f"`Content-Encoding: {encoding.decode('latin-1')}` is not understood; {allowed} are.",
            code="unsupported_encoding",
        )
    inflate = zlib.decompressobj(zlib.MAX_WBITS | 32)  # gzip or zlib, by its header
    try:
        plain = inflate.decompress(body, limit + 1)
    except zlib.error as error:
        raise Refusal.bad_request(f"The body is not {coding.decode()}: {error}.") from None
    if len(plain) > limit:
        raise Refusal.too_large(limit)
    if not inflate.eof:
        raise Refusal.bad_request(f"The body is not {coding.decode()}: it ends early.")
    return plain


def is_administration(path: str) -> bool:
    """Whether *path*, as an engine sees it, changes the engine."""
    return path.partition("?")[0].strip("/") in _ADMINISTRATION


def model_card(
    name: str, *, aliases: tuple[str, ...], ready: int, waits: bool, created: float
) -> dict[str, Any]:
    """One element of ``/v1/models``. ``aliases``, ``ready_replicas`` and ``state`` are ours."""
    return {
        "id": name,
        "object": "model",
        "created": int(created),
        "owned_by": "stoker",
        "root": name,
        "parent": None,
        "aliases": list(aliases),
        "ready_replicas": ready,
        "state": "ready" if ready else "starting" if waits else "sleeping",
    }
