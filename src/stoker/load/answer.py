"""What comes back for one request: tokens with their times, and whether the answer is whole."""

from __future__ import annotations

import json
from array import array
from typing import Any

TRUNCATED = "truncated"

_DATA = b"data:"
# An event that is not the last one. Inside generated text the quotes would be escaped.
_RUNNING = (b'"finish_reason":null', b'"finish_reason": null')
_DETAIL_LENGTH = 200


class Answer:
    """A chat or text completion as it arrives, in one piece or as server-sent events.

    An event counts as a token, even with an empty text: half a UTF-8 character has none. The first
    event of a chat carries only the role and does not count.
    """

    __slots__ = (
        "_body",
        "_done",
        "_events",
        "_fault",
        "_finish",
        "_last",
        "_reported",
        "_rest",
        "first_token",
        "gaps",
        "input_tokens",
        "status",
        "tokens",
    )

    def __init__(self) -> None:
        self.status = 0
        self.first_token: float | None = None
        self.gaps: array[float] = array("d")
        self.tokens = 0  # as counted; `output_tokens` prefers what the server says
        self.input_tokens = 0
        self._events = False
        self._last = 0.0
        self._rest = b""
        self._body: list[bytes] = []
        self._finish: str | None = None
        self._done = False
        self._reported: int | None = None
        self._fault: str | None = None

    @property
    def output_tokens(self) -> int:
        """As the server reports them in ``usage``, else as they were counted."""
        return self.tokens if self._reported is None else self._reported

    def begin(self, status: int, content_type: str) -> None:
        """The head has come."""
        self.status = status
        self._events = status == 200 and content_type.startswith("text/event-stream")

    def feed(self, data: bytes, now: float) -> None:
        """A piece of the body, cut anywhere, at *now*."""
        if not self._events:
            self._body.append(data)
            return
        if self._rest:
            data = self._rest + data
        lines = data.split(b"\n")
        self._rest = lines.pop()
        for line in lines:
            if not line.startswith(_DATA):
                continue
            # Taking JSON apart costs ten times as much: only the first and last events need it.
            if self.first_token is not None and (_RUNNING[0] in line or _RUNNING[1] in line):
                self._token(now)
            else:
                self._event(line[len(_DATA) :].strip(), now)

    def verdict(self) -> tuple[str | None, str]:
        """After the end: the kind of failure, None for a whole answer, and a detail."""
        if self.status != 200:
            return f"HTTP {self.status}", _message(b"".join(self._body))
        if not self._events:
            self._whole()
        if self._fault is not None:
            return "error in the answer", self._fault[:_DETAIL_LENGTH]
        if self._finish == "abort":
            return TRUNCATED, 'finish_reason is "abort": the engine was stopped'
        if self._finish is None:
            return TRUNCATED, "the answer has no finish_reason"
        if self._events and not self._done:
            return TRUNCATED, "the stream ended without [DONE]"
        return None, ""

    def _token(self, now: float) -> None:
        self.tokens += 1
        if self.first_token is None:
            self.first_token = now
        else:
            self.gaps.append(now - self._last)
        self._last = now

    def _event(self, payload: bytes, now: float) -> None:
        if payload == b"[DONE]":
            self._done = True
            return
        event = self._json(payload)
        choices = event.get("choices") or ()
        if choices and _has_token(choices[0]):
            self._token(now)

    def _whole(self) -> None:
        answer = self._json(b"".join(self._body))
        if self._fault is None and self._reported is None and not answer.get("choices"):
            self._fault = "the answer has no choices"

    def _json(self, payload: bytes) -> dict[str, Any]:
        """An event or a whole answer, with finish_reason, usage and error taken from it."""
        try:
            event = json.loads(payload)
        except ValueError:
            self._fault = f"not JSON: {payload[:60]!r}"
            return {}
        if not isinstance(event, dict):
            self._fault = f"not an object: {payload[:60]!r}"
            return {}
        if event.get("error"):
            self._fault = _error_message(event["error"])
        for choice in event.get("choices") or ():
            self._finish = choice.get("finish_reason") or self._finish
        if usage := event.get("usage"):
            self._reported = int(usage.get("completion_tokens") or 0)
            self.input_tokens = int(usage.get("prompt_tokens") or 0)
        return event


def _has_token(choice: dict[str, Any]) -> bool:
    delta = choice.get("delta")
    if delta is None:
        return "text" in choice
    if choice.get("finish_reason"):
        return "content" in delta  # OpenAI ends with an empty delta, vLLM with the last token
    return any(value for key, value in delta.items() if key != "role") or "role" not in delta


def _message(body: bytes) -> str:
    """The message of an error body in whatever shape, on one line."""
    try:
        answer = json.loads(body)
    except ValueError:
        text = body.decode(errors="replace")
    else:
        error = answer.get("error", answer) if isinstance(answer, dict) else answer
        text = _error_message(error)
    return " ".join(text.split())[:_DETAIL_LENGTH]


def _error_message(error: object) -> str:
    if isinstance(error, dict):
        return str(error.get("message") or error)
    return str(error)
