"""Writing OpenAI answers: the shapes of vLLM's JSON and of its streams, as recorded.

What does not change from token to token is turned into bytes once a request; a token then costs one
join.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from stoker.engines.simulated_server.api import Job

VERSION = "0.32.0+simulated"
_TEXT = (
    "The stoker watches the gauges and feeds the fire before the pressure falls. When the queue "
    "grows, another engine is lit: it takes a while until the water boils, so the signal has to "
    "come early. When the queue is empty, the fire is banked, not quenched, and the coal lasts. "
    "No train is late and no coal is wasted; that is the whole art. These words come from a "
    "simulated engine, which has a clock where a model has its weights. "
)
_WORDS = tuple(f" {word}" for word in _TEXT.split())
# Answers begin where a sentence begins.
_STARTS = tuple(index for index in range(len(_WORDS)) if _WORDS[index - 1].endswith("."))
_FRAGMENTS = tuple(json.dumps(word)[1:-1].encode() for word in _WORDS)
DONE = b"data: [DONE]\n\n"


def _compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer under construction. *created* is in seconds since the epoch."""

    job: Job
    id: str
    created: int

    @property
    def start(self) -> int:
        """Which word comes first."""
        return _STARTS[self.job.seed % len(_STARTS)]

    def text(self, tokens: int) -> str:
        """The first *tokens* tokens."""
        words = [_WORDS[(self.start + index) % len(_WORDS)] for index in range(tokens)]
        return "".join(words).removeprefix(" ")

    def usage(self, tokens: int) -> dict[str, Any]:
        """Token counts, when *tokens* were generated."""
        return {
            "prompt_tokens": self.job.prompt_tokens,
            "total_tokens": self.job.prompt_tokens + tokens,
            "completion_tokens": tokens,
        }

    def whole(self, tokens: int, reason: str) -> dict[str, Any]:
        """The JSON of an answer that is not streamed."""
        end = {"logprobs": None, "finish_reason": reason, "stop_reason": None, "token_ids": None}
        text = self.text(tokens)
        if self.job.chat:
            message: dict[str, Any] = {
                "role": "assistant",
                "content": text,
                "refusal": None,
                "annotations": None,
                "audio": None,
                "function_call": None,
                "tool_calls": [],
                "reasoning": None,
            }
            choice = {"index": 0, "message": message, **end}
        else:
            choice = {"index": 0, "text": text, **end, "prompt_token_ids": None}
        return {
            "id": self.id,
            "object": "chat.completion" if self.job.chat else "text_completion",
            "created": self.created,
            "model": self.job.model,
            "choices": [choice],
            "service_tier": None,
            "system_fingerprint": f"vllm-{VERSION}",
            "usage": {**self.usage(tokens), "prompt_tokens_details": None},
            "kv_transfer_params": None,
        }


class Chunks:
    """The events of one streamed answer."""

    __slots__ = ("_answer", "_end", "_head", "_start", "_tail")

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._start = answer.start
        opening = b"data: " + self._envelope()[:-1] + b',"choices":[{"index":0,'
        if answer.job.chat:
            self._head = opening + b'"delta":{"content":"'
            self._tail = b'"},"logprobs":null,"finish_reason":null,"token_ids":null}]}\n\n'
            self._end = (
                '"},"logprobs":null,"finish_reason":"%s","stop_reason":null,"token_ids":null}]}\n\n'
            )
        else:
            self._head = opening + b'"text":"'
            self._tail = (
                b'","logprobs":null,"finish_reason":null,"stop_reason":null,'
                b'"prompt_token_ids":null,"token_ids":null}],"usage":null}\n\n'
            )
            self._end = (
                '","logprobs":null,"finish_reason":"%s","stop_reason":null,'
                '"prompt_token_ids":null,"token_ids":null}],"usage":null}\n\n'
            )

    def role(self) -> bytes:
        """What comes before the first token. Nothing for a completion."""
        if not self._answer.job.chat:
            return b""
        choice = {
            "index": 0,
            "delta": {"role": "assistant", "content": ""},
            "logprobs": None,
            "finish_reason": None,
        }
        extra = _compact({"choices": [choice], "prompt_token_ids": None, "prompt_text": None})
        return b"data: " + self._envelope()[:-1] + b"," + extra[1:] + b"\n\n"

    def token(self, index: int) -> bytes:
        """The *index*-th token, counted from 1."""
        return self._head + self._fragment(index) + self._tail

    def last(self, index: int, reason: str) -> bytes:
        """The last token, or no text at all for index 0, with the reason."""
        text = self._fragment(index) if index else b""
        return self._head + text + (self._end % reason).encode()

    def end(self, tokens: int) -> bytes:
        """Usage, if it was asked for, and the end mark."""
        if not self._answer.job.include_usage:
            return DONE
        usage = {"choices": [], "usage": self._answer.usage(tokens)}
        extra = _compact({**usage, "system_fingerprint": f"vllm-{VERSION}"})
        return b"data: " + self._envelope()[:-1] + b"," + extra[1:] + b"\n\n" + DONE

    def _fragment(self, index: int) -> bytes:
        fragment = _FRAGMENTS[(self._start + index - 1) % len(_FRAGMENTS)]
        return fragment[1:] if index == 1 else fragment

    def _envelope(self) -> bytes:
        answer = self._answer
        kind = "chat.completion.chunk" if answer.job.chat else "text_completion"
        return _compact(
            {"id": answer.id, "object": kind, "created": answer.created, "model": answer.job.model}
        )
