"""The shapes of the OpenAI API as vLLM serves it: paths, the list of models, errors."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

#: Inference paths of vLLM 0.32. Its administration (/sleep, /pause, LoRA loading ...) is not here:
#: what changes a replica is for those who run it, not for those who send requests.
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
        "/classify",
        "/detokenize",
        "/pooling",
        "/rerank",
        "/score",
        "/tokenize",
    }
)


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
    def unknown_model(cls, name: str, models: Iterable[str]) -> Refusal:
        """404, with the models that there are."""
        known = ", ".join(f"`{model}`" for model in sorted(models)) or "none"
        message = f"The model `{name}` does not exist. Models here: {known}."
        return cls(404, "invalid_request_error", message, code="model_not_found", param="model")

    @classmethod
    def stopping(cls) -> Refusal:
        """503: no new requests."""
        message = "The gateway is stopping."
        return cls(503, "service_unavailable", message, code="stopping", retry_after=5)

    def body(self) -> bytes:
        """The error as JSON."""
        error = {
            "message": self.message,
            "type": self.type,
            "param": self.param,
            "code": self.code,
        }
        return json.dumps({"error": error}).encode()


def model_of(body: bytes) -> str | None:
    """``model`` of a request's body, None when it is left out.

    Raises:
        Refusal: the body is not a JSON object, or ``model`` is not a string.
    """
    try:
        request: Any = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refusal.bad_request(f"The body is not valid JSON: {error}.") from None
    if not isinstance(request, dict):
        raise Refusal.bad_request("The body must be a JSON object.")
    model = request.get("model")
    if model is not None and not isinstance(model, str):
        raise Refusal.bad_request("`model` must be a string.", param="model")
    return model


def model_card(
    name: str, *, aliases: tuple[str, ...], ready: int, created: float
) -> dict[str, Any]:
    """One element of ``/v1/models``. ``aliases`` and ``ready_replicas`` are ours."""
    return {
        "id": name,
        "object": "model",
        "created": int(created),
        "owned_by": "stoker",
        "root": name,
        "parent": None,
        "aliases": list(aliases),
        "ready_replicas": ready,
    }
