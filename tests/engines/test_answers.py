"""The shapes of answers, against a recorded stream."""

import json
from pathlib import Path

import pytest

from stoker.engines.simulated_server.answers import Answer, Chunks
from stoker.engines.simulated_server.api import Job

RECORDED = (Path(__file__).parents[1] / "data/vllm/chat_stream.sse").read_bytes()


def job(*, chat: bool = True, include_usage: bool = True) -> Job:
    return Job(
        chat=chat,
        model="tiny",
        prompt_tokens=19,
        max_tokens=12,
        natural_tokens=None,
        prefix_hashes=(),
        seed=77,
        stream=True,
        include_usage=include_usage,
    )


def stream(answer: Answer, tokens: int, reason: str = "length") -> bytes:
    chunks = Chunks(answer)
    middle = [chunks.token(index) for index in range(1, tokens)]
    return b"".join([chunks.role(), *middle, chunks.last(tokens, reason), chunks.end(tokens)])


def events(data: bytes) -> list[str]:
    assert data.endswith(b"\n\n")
    lines = data.decode().removesuffix("\n\n").split("\n\n")
    assert all(line.startswith("data: ") for line in lines)
    return [line.removeprefix("data: ") for line in lines]


def shape(event: str) -> str:
    """The event with the parts that differ from answer to answer left out, in order."""
    if event == "[DONE]":
        return event
    body = json.loads(event)
    body |= {"id": body["id"][:9], "created": type(body["created"]).__name__}
    if "system_fingerprint" in body:
        body["system_fingerprint"] = body["system_fingerprint"][:11]
    for choice in body["choices"]:
        choice["delta"]["content"] = "" if choice["delta"].get("role") else "text"
    return json.dumps(body)


def test_a_streamed_chat_has_the_recorded_shape():
    ours = stream(Answer(job(), "chatcmpl-1", 5), 12)
    assert [shape(event) for event in events(ours)] == [shape(event) for event in events(RECORDED)]


def test_usage_is_sent_only_when_it_was_asked_for():
    ours = events(stream(Answer(job(include_usage=False), "chatcmpl-1", 5), 3))
    assert len(ours) == 5  # the role, three tokens, the end
    assert not any("usage" in event for event in ours)


@pytest.mark.parametrize("chat", [True, False], ids=["chat", "completion"])
def test_streamed_and_whole_answers_say_the_same(chat):
    answer = Answer(job(chat=chat), "x-1", 5)
    text = ""
    for event in events(stream(answer, 300, "stop"))[:-2]:
        (choice,) = json.loads(event)["choices"]
        text += choice["delta"]["content"] if chat else choice["text"]
    (choice,) = answer.whole(300, "stop")["choices"]
    assert text == (choice["message"]["content"] if chat else choice["text"])
    assert len(text.split()) == 300
    assert choice["finish_reason"] == "stop"
    assert text[0].isupper()


def test_an_answer_that_was_cut_before_its_first_token_still_ends_well():
    last = events(Chunks(Answer(job(), "x-1", 5)).last(0, "abort"))
    assert json.loads(last[0])["choices"][0]["finish_reason"] == "abort"
    assert json.loads(last[0])["choices"][0]["delta"]["content"] == ""


def test_a_whole_answer_counts_its_tokens():
    assert Answer(job(), "x-1", 5).whole(12, "length")["usage"] == {
        "prompt_tokens": 19,
        "total_tokens": 31,
        "completion_tokens": 12,
        "prompt_tokens_details": None,
    }
