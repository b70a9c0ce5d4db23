"""The metrics page of a simulated replica against one that real vLLM wrote."""

import re
from collections import defaultdict
from pathlib import Path

import pytest

from stoker.engines import metrics_catalogue as catalogue
from stoker.engines.exposition import label_text, number
from stoker.engines.metrics_page import MetricsPage
from stoker.simulator.engine import Engine, Limits, Request
from stoker.simulator.profiles import PROFILES

RECORDED = (Path(__file__).parents[1] / "data/vllm/metrics_idle.txt").read_text(encoding="utf-8")

# On the recorded page and not on ours, with the reason.
LEFT_OUT = {
    r"python_gc_.*": "tells nothing about an engine; would need a hook in the collector",
    r"process_(virtual_memory_bytes|open_fds|max_fds)": "nobody reads them of an engine",
    r"http_(request|response)_size_bytes(_created)?": "no dashboard and no query uses it",
    r"http_request_duration_highr_seconds(_created)?": "the same with more buckets",
}

SAMPLE = re.compile(r"(?P<name>[^{ ]+)(?:\{(?P<labels>.*)\})? (?P<value>\S+)")
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def samples(text: str) -> list[tuple[str, dict[str, str], float]]:
    found = []
    for line in text.splitlines():
        if not line.startswith("#"):
            match = SAMPLE.fullmatch(line)
            assert match, line
            labels = dict(LABEL.findall(match["labels"] or ""))
            found.append((match["name"], labels, float(match["value"])))
    return found


def families(text: str) -> dict[str, str]:
    return dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))


def helps(text: str) -> dict[str, str]:
    return dict(re.findall(r"^# HELP (\S+) (.*?) *$", text, re.MULTILINE))


def wanted(text: str) -> dict[str, str]:
    return {
        name: type_
        for name, type_ in families(text).items()
        if not any(re.fullmatch(pattern, name) for pattern in LEFT_OUT)
    }


def series(text: str) -> dict[str, set[tuple[str, ...]]]:
    """For each sample name: label names, and the values of those that are part of the schema."""
    schema = {"le", "source", "reason", "finished_reason", "sleep_state"}
    result = defaultdict(set)
    for name, labels, _ in samples(text):
        shown = (f"{key}={labels[key]}" if key in schema else key for key in labels)
        result[name].add(tuple(shown))
    return result


def fresh(max_model_len: int = 512) -> tuple[Engine, MetricsPage]:
    limits = Limits(
        max_num_seqs=2, max_num_batched_tokens=512, max_model_len=max_model_len, num_gpu_blocks=41
    )
    pages: list[MetricsPage] = []
    engine = Engine(PROFILES["tiny"], limits, on_step=lambda step: pages[0].step(step))  # noqa: PLW0108 - the page comes later
    config = catalogue.cache_config(
        block_size=16,
        num_gpu_blocks=41,
        max_model_len=max_model_len,
        enable_prefix_caching=True,
        gpu_memory_utilization=0.92,
        kv_bytes_per_token=1024,
    )
    pages.append(MetricsPage(engine, "tiny", config, now=1795358971.5))
    return engine, pages[0]


def idle_page() -> str:
    _, page = fresh()
    page.answered("/v1/models", "GET", 200, 0.004, 1795359011.0)
    return page.text()


def value(text: str, name: str, **labels: str) -> float:
    (found,) = (
        number
        for sample, own, number in samples(text)
        if sample == name and labels.items() <= own.items()
    )
    return found


def test_an_idle_page_has_the_recorded_names_and_types():
    assert families(idle_page()) == wanted(RECORDED)


def test_an_idle_page_has_the_recorded_texts():
    assert helps(idle_page()) == {
        name: text for name, text in helps(RECORDED).items() if name in wanted(RECORDED)
    }


def test_an_idle_page_has_the_recorded_labels_and_buckets():
    ours, recorded = series(idle_page()), series(RECORDED)
    for name, rows in ours.items():
        assert rows == recorded[name], name
    left_out = recorded.keys() - ours.keys()
    patterns = [pattern.removesuffix("(_created)?") for pattern in LEFT_OUT]
    assert all(any(re.match(pattern, name) for pattern in patterns) for name in left_out)


def test_every_reason_to_leave_something_out_is_needed():
    for pattern in LEFT_OUT:
        assert any(re.fullmatch(pattern, name) for name in families(RECORDED)), pattern


def test_an_idle_stock_server_shows_zeros_except_for_what_is_always_one():
    ones = {
        (name, labels.get("sleep_state"))
        for name, labels, amount in samples(idle_page())
        if name.startswith("vllm:") and not name.endswith("_created") and amount
    }
    assert ones == {("vllm:engine_sleep_state", "awake"), ("vllm:cache_config_info", None)}


def run(engine: Engine, page: MetricsPage, until: float = float("inf")) -> None:
    while (at := engine.next_event()) is not None and at <= until:
        page.produced(engine.advance(at))


def test_the_page_counts_what_the_engine_did():
    # tiny, computed by hand: the prompts of a and b (20 + 30 tokens) in one step of 10 ms, then
    # one step in which both decode, 10 + 2 + 0.5 ms, then c's prompt with b's last token.
    engine, page = fresh()
    for name, prompt, output in (("a", 20, 2), ("b", 30, 3), ("c", 40, 1)):
        engine.submit(Request(name, prompt, output), 100.0)
        page.arrived(name, output, 100.0)
    run(engine, page, until=100.0)
    text = page.text()
    assert value(text, "vllm:num_requests_running") == 2.0
    assert value(text, "vllm:num_requests_waiting") == 1.0
    assert value(text, "vllm:num_requests_waiting_by_reason", reason="capacity") == 1.0
    assert value(text, "vllm:kv_cache_usage_perc") == pytest.approx(4 / 40)
    run(engine, page)
    text = page.text()
    assert value(text, "vllm:prompt_tokens_total") == 90.0
    assert value(text, "vllm:generation_tokens_total") == 6.0
    assert value(text, "vllm:request_success_total", finished_reason="length") == 3.0
    assert value(text, "vllm:iteration_tokens_total_count") == 3.0
    assert value(text, "vllm:iteration_tokens_total_sum") == 96.0
    assert value(text, "vllm:time_to_first_token_seconds_count") == 3.0
    assert value(text, "vllm:time_to_first_token_seconds_bucket", le="0.02") == 2.0
    assert value(text, "vllm:inter_token_latency_seconds_count") == 3.0
    assert value(text, "vllm:request_queue_time_seconds_sum") == pytest.approx(0.0225)
    step_3 = 0.010 + 0.001 + 0.00031  # c's 40 prompt tokens are within the 10 ms of the weights
    assert value(text, "vllm:e2e_request_latency_seconds_sum") == pytest.approx(
        0.0225 + 2 * (0.0225 + step_3)
    )
    assert value(text, "vllm:num_requests_running") == 0.0
    assert value(text, "vllm:kv_cache_usage_perc") == 0.0


def test_a_cancelled_request_counts_as_aborted_and_not_as_one_that_ran():
    engine, page = fresh()
    engine.submit(Request("a", 20, 2), 1.0)
    page.arrived("a", 2, 1.0)
    end = engine.cancel("a", 1.0)
    assert end is not None
    page.ended("a", end)
    text = page.text()
    assert value(text, "vllm:request_success_total", finished_reason="abort") == 1.0
    assert value(text, "vllm:request_queue_time_seconds_count") == 0.0


def test_cached_prompt_tokens_are_counted_by_their_source():
    engine, page = fresh()
    for name, now in (("a", 1.0), ("b", 2.0)):
        engine.submit(Request(name, 40, 1, None, (7, 8)), now)
        page.arrived(name, 1, now)
        run(engine, page)
    text = page.text()
    assert value(text, "vllm:prompt_tokens_by_source_total", source="local_compute") == 48.0
    assert value(text, "vllm:prompt_tokens_by_source_total", source="local_cache_hit") == 32.0
    assert value(text, "vllm:prefix_cache_queries_total") == 80.0
    assert value(text, "vllm:prefix_cache_hits_total") == 32.0


def test_buckets_of_lengths_end_at_the_longest_request():
    assert catalogue.length_buckets(512)[-3:] == (100.0, 200.0, 500.0)
    assert catalogue.length_buckets(131072)[-2:] == (50000.0, 100000.0)


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, "0.0"),
        (0.25, "0.25"),
        (16384, "16384.0"),
        (1795358971.1580129, "1.7953589711580129e+09"),
        (658837504, "6.58837504e+08"),
        (10000000000, "1e+10"),
        (float("inf"), "+Inf"),
    ],
)
def test_numbers_are_written_as_the_real_page_writes_them(amount, text):
    assert number(amount) == text


def test_label_values_are_escaped():
    assert label_text({"b": 'say "hi"\n', "a": "c:\\x"}) == r'{a="c:\\x",b="say \"hi\"\n"}'
