"""What clients hear when the policy refuses: status, type and words for each reason."""

from __future__ import annotations

from collections.abc import Iterable

from stoker.gateway.openai import Refusal
from stoker.gateway.policy import Reason, Refuse

_UNAVAILABLE = "service_unavailable"
_SHAPES: dict[Reason, tuple[int, str, str]] = {
    Reason.QUEUE_FULL: (
        429,
        "rate_limit_error",
        "The queue of the model `{model}` is full: {why}.",
    ),
    Reason.DISPLACED: (
        429,
        "rate_limit_error",
        "The queue of the model `{model}` is full and others have a smaller part in it: {why}.",
    ),
    Reason.HOLD_TIMEOUT: (
        503,
        _UNAVAILABLE,
        "The model `{model}` is not available to this request: {why}.",
    ),
    Reason.DEADLINE: (
        504,
        "timeout",
        "The time that this request allows is over and `{model}` had not begun to answer: {why}.",
    ),
    Reason.START_FAILED: (
        503,
        _UNAVAILABLE,
        "The model `{model}` is not available: its start failed ({why}).",
    ),
    Reason.REPLICAS_LOST: (502, "bad_gateway", "The model `{model}` did not answer: {why}."),
    Reason.RETRIES_EXHAUSTED: (502, "bad_gateway", "The model `{model}` did not answer: {why}."),
    Reason.STOPPING: (503, _UNAVAILABLE, "The gateway is stopping."),
}
_RETRY_LOST = 5  # seconds; replicas that died are about to be replaced


def refusal_of(refuse: Refuse, models: Iterable[str]) -> Refusal:
    """The answer to a request that the policy refuses."""
    request, reason = refuse.request, refuse.reason
    if reason is Reason.UNKNOWN_MODEL:
        return Refusal.unknown_model(request.model, models)
    status, type_, words = _SHAPES[reason]
    message = words.format(model=request.model, why=refuse.detail)
    retry_after = refuse.retry_after
    if status == 502 or reason is Reason.STOPPING:
        retry_after = _RETRY_LOST
    return Refusal(status, type_, message, code=reason.value, retry_after=retry_after)
