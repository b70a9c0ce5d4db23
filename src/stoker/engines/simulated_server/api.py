"""Reading OpenAI requests, and refusing them in vLLM's words."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from statistics import NormalDist
from typing import Any

from stoker.engines.simulated_server.options import Options

_CHARACTERS_PER_TOKEN = 4
_MESSAGE_TOKENS = 4  # what a chat template puts around each message
_TEMPLATE_TOKENS = 3
_COMPLETION_MAX_TOKENS = 16  # OpenAI's default for /v1/completions
# Lengths of answers in the Azure 2023 conversation trace: median 129 tokens, 90th percentile 424.
_NATURAL_MEDIAN_TOKENS = 129.0
_NATURAL_SIGMA = math.log(424.0 / 129.0) / NormalDist().inv_cdf(0.9)


class ApiError(Exception):
    """An answer that is an error. ``type_`` as vLLM calls it."""

    def __init__(
        self, status: int, message: str, type_: str | None = None, param: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.type = type_ or HTTPStatus(status).phrase
        self.param = param

    def body(self) -> dict[str, Any]:
        """The JSON of the answer."""
        error = {
            "message": self.message,
            "type": self.type,
            "param": self.param,
            "code": self.status,
        }
        return {"error": error}


@dataclass(frozen=True, slots=True)
class Job:
    """A request that was understood."""

    chat: bool
    model: str  # as the request calls it
    prompt_tokens: int
    max_tokens: int
    natural_tokens: int | None  # where the answer ends by itself; None: only at max_tokens
    prefix_hashes: Sequence[int]
    seed: int
    stream: bool
    include_usage: bool


def read_job(raw: bytes, options: Options, *, chat: bool) -> Job:
    """Understand the body of a request, or raise ApiError."""
    body = _json(raw)
    field = "messages" if chat else "prompt"
    if field not in body:
        raise _invalid("missing", field, "Field required")
    stream = _boolean(body, "stream")
    model = body.get("model") or options.name
    if not isinstance(model, str):
        raise _invalid("string_type", "model", "Input should be a valid string")
    if model not in options.served_names:
        message = f"The model `{model}` does not exist."
        raise ApiError(404, message, "NotFoundError", "model")
    if _integer(body, "n", 1) != 1:
        raise ApiError(400, "n must be 1: this engine is simulated", "BadRequestError", "n")
    text, tokens = _chat_prompt(body[field]) if chat else _prompt(body[field])
    seed = zlib.crc32(text.encode("utf-8", "surrogatepass"))
    max_tokens, natural = _lengths(body, tokens, seed, options, chat=chat)
    return Job(
        chat=chat,
        model=model,
        prompt_tokens=tokens,
        max_tokens=max_tokens,
        natural_tokens=natural,
        prefix_hashes=_prefix_hashes(text, tokens, options),
        seed=seed,
        stream=stream,
        include_usage=_include_usage(body, stream=stream),
    )


def count_tokens(text: str) -> int:
    """About four characters a token, and at least one a word: ``"Hi " * n`` has *n* tokens."""
    return max(len(text.split()), math.ceil(len(text.strip()) / _CHARACTERS_PER_TOKEN))


def _json(raw: bytes) -> Mapping[str, Any]:
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise _invalid("json_invalid", None, f"JSON decode error: {error}") from error
    if not isinstance(body, dict):
        raise _invalid("model_attributes_type", None, "Input should be a valid dictionary")
    return body


def _invalid(kind: str, field: str | None, message: str) -> ApiError:
    """What vLLM answers when pydantic refuses the body."""
    place = ("body",) if field is None else ("body", field)
    return ApiError(400, str([{"type": kind, "loc": place, "msg": message}]), param=field)


def _boolean(body: Mapping[str, Any], field: str) -> bool:
    value = body.get(field)
    if value is not None and not isinstance(value, bool):
        raise _invalid("bool_type", field, "Input should be a valid boolean")
    return bool(value)


def _integer(body: Mapping[str, Any], field: str, default: int | None) -> int | None:
    value = body.get(field)
    if value is None:
        return default
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    if isinstance(value, bool) or not whole:
        raise _invalid("int_parsing", field, "Input should be a valid integer")
    return int(value)


def _include_usage(body: Mapping[str, Any], *, stream: bool) -> bool:
    stream_options = body.get("stream_options")
    if stream_options is None:
        return False
    if not stream:
        raise ApiError(400, "Stream options can only be defined when `stream=True`.")
    if not isinstance(stream_options, dict):
        raise _invalid("model_type", "stream_options", "Input should be an object")
    return _boolean(stream_options, "include_usage")


def _chat_prompt(messages: Any) -> tuple[str, int]:
    if not isinstance(messages, list):
        raise _invalid("list_type", "messages", "Input should be a valid list")
    if not messages:
        raise ApiError(400, "messages must not be empty", "BadRequestError", "messages")
    lines = [
        f"{message.get('role', '')}\n{_content(message)}" for message in map(_object, messages)
    ]
    tokens = sum(count_tokens(_content(message)) + _MESSAGE_TOKENS for message in messages)
    return "\n".join(lines), tokens + _TEMPLATE_TOKENS


def _object(message: Any) -> Mapping[str, Any]:
    if not isinstance(message, dict):
        raise _invalid("dict_type", "messages", "Input should be a valid dictionary")
    return message


def _content(message: Mapping[str, Any]) -> str:
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise _invalid("string_type", "messages", "Input should be a valid string")
    texts = []
    for part in content:
        if not isinstance(part, dict) or not isinstance(part.get("text"), str):
            raise ApiError(400, "the model takes only text", "BadRequestError", "messages")
        texts.append(part["text"])
    return "\n".join(texts)


def _prompt(prompt: Any) -> tuple[str, int]:
    if isinstance(prompt, list) and len(prompt) == 1 and not isinstance(prompt[0], int):
        prompt = prompt[0]
    if isinstance(prompt, str):
        return prompt, max(count_tokens(prompt), 1)
    if isinstance(prompt, list) and prompt and all(isinstance(token, int) for token in prompt):
        return " ".join(map(str, prompt)), len(prompt)
    message = "one prompt a request: this engine is simulated"
    raise ApiError(400, message, "BadRequestError", "prompt")


def _lengths(
    body: Mapping[str, Any], tokens: int, seed: int, options: Options, *, chat: bool
) -> tuple[int, int | None]:
    """``max_tokens``, and where the answer ends by itself."""
    longest = options.limits.max_model_len
    asked = _integer(body, "max_completion_tokens", None) if chat else None
    if asked is None:
        asked = _integer(body, "max_tokens", None if chat else _COMPLETION_MAX_TOKENS)
    if asked is not None and asked < 1:
        message = f"max_tokens must be at least 1, got {asked}."
        raise ApiError(400, message, "BadRequestError", "max_tokens")
    if tokens >= longest or (asked is not None and tokens + asked > longest):
        raise _too_long(longest, tokens, asked)
    least = _integer(body, "min_tokens", None)
    if asked is not None and least is None:
        return asked, None
    most = longest - tokens if asked is None else asked
    if body.get("ignore_eos") is True:
        return most, None
    return most, max(natural_length(seed), least or 1)


def _too_long(longest: int, tokens: int, asked: int | None) -> ApiError:
    asked = 1 if asked is None else asked
    message = (
        f"This model's maximum context length is {longest} tokens. However, you requested "
        f"{asked} output tokens and your prompt contains {tokens} input tokens, for a total of "
        f"{tokens + asked} tokens. Please reduce the length of the input prompt or the number of "
        f"requested output tokens. (parameter=input_tokens, value={tokens})"
    )
    return ApiError(400, message, "BadRequestError", "input_tokens")


def natural_length(seed: int) -> int:
    """Where an answer ends by itself, in tokens: log-normal, the same for the same prompt."""
    quantile = NormalDist().inv_cdf((zlib.crc32(seed.to_bytes(4, "big")) + 0.5) / 2**32)
    return max(round(_NATURAL_MEDIAN_TOKENS * math.exp(_NATURAL_SIGMA * quantile)), 1)


def _prefix_hashes(text: str, tokens: int, options: Options) -> tuple[int, ...]:
    if not options.enable_prefix_caching:
        return ()
    size = options.limits.block_size * _CHARACTERS_PER_TOKEN
    hashes = []
    chain = 0
    for block in range(min(tokens // options.limits.block_size, len(text) // size)):
        # Python's own hash: the values differ from process to process, and never leave this one.
        chain = hash((chain, text[block * size : (block + 1) * size]))
        hashes.append(chain)
    return tuple(hashes)
