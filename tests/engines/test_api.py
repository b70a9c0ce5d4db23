"""What the simulated server understands, and how it refuses the rest."""

import argparse
import json
import statistics

import pytest

from stoker.engines.simulated_server.api import (
    ApiError,
    Job,
    count_tokens,
    natural_length,
    read_job,
)
from stoker.engines.simulated_server.options import length, parse
from stoker.errors import InputError

OPTIONS = parse(
    ["serve", "org/model", "--served-model-name", "llama", "alias", "--max-model-len", "1000"], {}
)


def chat(**body) -> Job:
    body = {"messages": [{"role": "user", "content": "Hi"}], **body}
    return read_job(json.dumps(body).encode(), OPTIONS, chat=True)


def completion(**body) -> Job:
    return read_job(json.dumps({"prompt": "Hi", **body}).encode(), OPTIONS, chat=False)


def test_max_tokens_is_the_length_of_the_answer():
    job = chat(max_tokens=7)
    assert (job.max_tokens, job.natural_tokens) == (7, None)


def test_max_completion_tokens_counts_more_than_max_tokens():
    assert chat(max_tokens=7, max_completion_tokens=9).max_tokens == 9


def test_without_max_tokens_a_chat_ends_by_itself_and_the_same_prompt_always_there():
    job = chat()
    assert job.max_tokens == 1000 - job.prompt_tokens
    assert job.natural_tokens == chat().natural_tokens
    other = chat(messages=[{"role": "user", "content": "Another question"}])
    assert other.natural_tokens != job.natural_tokens


def test_without_max_tokens_a_completion_has_16():
    assert completion().max_tokens == 16


def test_min_tokens_lets_an_answer_end_between_it_and_max_tokens():
    job = chat(min_tokens=400, max_tokens=500)
    assert job.natural_tokens is not None
    assert job.natural_tokens >= 400
    assert job.max_tokens == 500


def test_ignore_eos_goes_on_to_the_end_of_the_context():
    job = chat(ignore_eos=True)
    assert (job.natural_tokens, job.max_tokens) == (None, 1000 - job.prompt_tokens)


def test_natural_lengths_are_those_of_the_conversation_trace():
    lengths = [natural_length(seed) for seed in range(2000)]
    deciles = statistics.quantiles(lengths, n=10)
    assert deciles[4] == pytest.approx(129, rel=0.1)
    assert deciles[8] == pytest.approx(424, rel=0.1)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("Hi " * 500, 500), ("x" * 400, 100), ("The quick brown fox jumps", 7), ("", 0)],
    ids=["his", "one-word", "sentence", "nothing"],
)
def test_tokens_are_four_characters_and_at_least_a_word(text, tokens):
    assert count_tokens(text) == tokens


def test_parts_of_a_message_are_read_as_text():
    parts = [{"type": "text", "text": "Hi"}, {"type": "text", "text": "there"}]
    whole = chat(messages=[{"role": "user", "content": "Hi\nthere"}])
    assert chat(messages=[{"role": "user", "content": parts}]).seed == whole.seed


@pytest.mark.parametrize(
    ("prompt", "tokens"),
    [("Hi there", 2), (["Hi there"], 2), ([1, 2, 3], 3), ([[1, 2, 3]], 3)],
    ids=["text", "list-of-one", "token-ids", "list-of-token-ids"],
)
def test_a_prompt_may_be_text_or_token_ids(prompt, tokens):
    assert completion(prompt=prompt).prompt_tokens == tokens


def test_prompts_share_the_hashes_of_the_blocks_that_they_share():
    start = "word " * 100  # 500 characters: seven blocks of 64 and a rest
    one, two = completion(prompt=start + "a " * 90), completion(prompt=start + "b " * 90)
    assert one.prefix_hashes[:7] == two.prefix_hashes[:7]
    assert not set(one.prefix_hashes[7:]) & set(two.prefix_hashes[7:])
    assert len(one.prefix_hashes) <= one.prompt_tokens // 16


def test_without_prefix_caching_nothing_is_shared():
    options = parse(["m", "--no-enable-prefix-caching"], {})
    body = json.dumps({"prompt": "word " * 100}).encode()
    assert read_job(body, options, chat=False).prefix_hashes == ()


@pytest.mark.parametrize(
    ("body", "status", "type_", "param", "words"),
    [
        ("{", 400, "Bad Request", None, "JSON decode error"),
        ("[" * 100_000, 400, "Bad Request", None, "JSON decode error"),
        ("[]", 400, "Bad Request", None, "valid dictionary"),
        ("{}", 400, "Bad Request", "messages", "Field required"),
        ('{"messages": "Hi"}', 400, "Bad Request", "messages", "valid list"),
        ('{"messages": [3]}', 400, "Bad Request", "messages", "valid dictionary"),
        ('{"messages": []}', 400, "BadRequestError", "messages", "empty"),
        (
            '{"messages": [], "model": "gpt"}',
            404,
            "NotFoundError",
            "model",
            "`gpt` does not exist.",
        ),
        ('{"messages": [{}], "model": 3}', 400, "Bad Request", "model", "valid string"),
        ('{"messages": [{}], "stream": 1}', 400, "Bad Request", "stream", "valid boolean"),
        ('{"messages": [{}], "n": 2}', 400, "BadRequestError", "n", "must be 1"),
        ('{"messages": [{}], "max_tokens": "x"}', 400, "Bad Request", "max_tokens", "integer"),
        ('{"messages": [{}], "max_tokens": 1e999}', 400, "Bad Request", "max_tokens", "integer"),
        ('{"messages": [{}], "max_tokens": 0}', 400, "BadRequestError", "max_tokens", "got 0."),
        (
            '{"messages": [{}], "max_tokens": 994}',
            *(400, "BadRequestError", "input_tokens"),
            "you requested 994 output tokens and your prompt contains 7 input tokens, for a total",
        ),
        ('{"messages": [{}], "stream_options": {}}', 400, "Bad Request", None, "`stream=True`"),
    ],
)
def test_what_is_wrong_is_refused_in_the_words_of_vllm(body, status, type_, param, words):
    with pytest.raises(ApiError) as caught:
        read_job(body.encode(), OPTIONS, chat=True)
    error = caught.value.body()["error"]
    assert (error["code"], error["type"], error["param"]) == (status, type_, param)
    assert words in error["message"]


@pytest.mark.parametrize("prompt", [None, [], ["a", "b"], {}, [[]]])
def test_a_prompt_that_is_none_is_refused(prompt):
    with pytest.raises(ApiError):
        completion(prompt=prompt)


def test_images_are_refused_and_not_counted_as_nothing():
    with pytest.raises(ApiError, match="only text"):
        chat(messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}])


def test_the_first_served_name_is_the_one_on_answers_and_every_one_is_understood():
    assert OPTIONS.name == "llama"
    assert chat(model="alias").model == "alias"
    assert chat().model == "llama"


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("4096", 4096), ("8k", 8000), ("8K", 8192), ("1M", 1048576), ("auto", None), ("-1", None)],
)
def test_lengths_are_read_as_vllm_reads_them(text, tokens):
    assert length(text) == tokens


def test_a_length_that_is_none_is_refused():
    with pytest.raises(argparse.ArgumentTypeError):
        length("many")


def test_prompts_that_may_not_be_split_fit_in_one_step():
    split = parse(["m", "--max-model-len", "4096"], {}).limits
    whole = parse(["m", "--max-model-len", "4096", "--no-enable-chunked-prefill"], {}).limits
    assert (split.max_num_batched_tokens, whole.max_num_batched_tokens) == (2048, 4096)


def test_underscores_equals_signs_and_unknown_options_are_accepted():
    options = parse(["m", "--max_num_seqs=3", "--kv_cache_dtype", "fp8", "--seed=1"], {})
    assert options.limits.max_num_seqs == 3
    assert options.ignored == ("--kv-cache-dtype", "fp8", "--seed=1")


def test_the_kv_cache_is_what_the_gpu_has_left():
    small = parse(["m", "--gpu-memory-utilization", "0.5"], {}).limits
    large = parse(["m"], {}).limits
    assert 150_000 < small.num_gpu_blocks * 16 < 190_000
    assert 450_000 < large.num_gpu_blocks * 16 < 470_000
    assert parse(["m", "--num-gpu-blocks-override", "99"], {}).limits.num_gpu_blocks == 99


def test_the_key_is_taken_from_the_environment_as_in_the_chart():
    assert parse(["m"], {"VLLM_API_KEY": "secret"}).api_key == "secret"
    assert parse(["m"], {}).api_key is None


@pytest.mark.parametrize("arguments", [[], ["serve"], ["m", "--speed", "0"]])
def test_a_command_line_without_sense_is_an_input_error(arguments):
    with pytest.raises(InputError):
        parse(arguments, {})
