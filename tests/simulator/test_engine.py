"""The engine model: a vLLM replica in virtual time."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stoker.errors import InputError
from stoker.simulator.engine import Engine, Limits, Request, Step, TokenEvent
from stoker.simulator.profiles import PROFILES

TINY = PROFILES["tiny"]


def limits(**changes) -> Limits:
    values = {
        "max_num_seqs": 4,
        "max_num_batched_tokens": 100,
        "max_model_len": 160,
        "num_gpu_blocks": 41,
    }
    return Limits(**{**values, **changes})


def run(engine: Engine, until: float = float("inf")) -> list[TokenEvent]:
    events = []
    while (at := engine.next_event()) is not None and at <= until:
        events += engine.advance(at)
    return events


def times(events: list[TokenEvent], request_id: str) -> list[float]:
    return [round(event.time, 9) for event in events if event.request_id == request_id]


def test_two_requests_take_the_time_computed_by_hand():
    # tiny: max(10 ms, 0.1 ms x prefill) + 1 ms x decoding + 0.01 ms x their context.
    engine = Engine(TINY, limits(max_num_batched_tokens=512))
    engine.submit(Request("a", prompt_tokens=120, max_tokens=3), 0.0)
    engine.advance(0.0)
    engine.submit(Request("b", prompt_tokens=50, max_tokens=2), 0.005)
    events = run(engine)
    # Step 1, 0 ms: a's 120 prompt tokens, 12 ms.
    # Step 2, 12 ms: b's 50 prompt tokens in 10 ms, a decodes with 120 in cache: 1 + 1.2 ms.
    # Step 3, 24.2 ms: a decodes with 121, b with 50: 10 + 2 + 1.71 ms.
    assert times(events, "a") == [0.012, 0.0242, 0.03791]
    assert times(events, "b") == [0.0242, 0.03791]


def test_the_last_token_says_what_happened_to_the_request():
    engine = Engine(TINY, limits())
    engine.submit(Request("a", prompt_tokens=120, max_tokens=2), 1.0)
    last = run(engine)[-1].finished
    assert last is not None
    assert (last.reason, last.output_tokens, last.prompt_tokens) == ("length", 2, 120)
    assert (last.arrived, last.scheduled) == (1.0, 1.0)
    # 100 tokens of the prompt fit in the first step, 20 are left for the second.
    assert last.first_token == pytest.approx(1.020)
    assert last.last_token == last.ended == pytest.approx(1.020 + 0.0122)


def test_a_model_that_stops_by_itself_finishes_with_stop():
    engine = Engine(TINY, limits())
    engine.submit(Request("a", prompt_tokens=5, max_tokens=50, natural_tokens=7), 0.0)
    finished = run(engine)[-1].finished
    assert finished is not None
    assert (finished.reason, finished.output_tokens) == ("stop", 7)


def test_requests_beyond_max_num_seqs_wait_in_order_of_arrival():
    engine = Engine(TINY, limits(max_num_seqs=2))
    for name in "abcd":
        engine.submit(Request(name, prompt_tokens=5, max_tokens=4), 0.0)
    engine.advance(0.0)
    assert (engine.running, engine.waiting) == (2, 2)
    events = run(engine)
    assert [event.request_id for event in events if event.index == 1] == list("abcd")


def test_a_long_prompt_is_split_by_the_token_budget_and_others_go_on_decoding():
    steps: list[Step] = []
    engine = Engine(TINY, limits(), on_step=steps.append)
    engine.submit(Request("a", prompt_tokens=10, max_tokens=10), 0.0)
    engine.advance(0.0)
    engine.submit(Request("b", prompt_tokens=150, max_tokens=1), 0.001)
    run(engine)
    assert [step.prefill_tokens for step in steps[:3]] == [10, 99, 51]
    assert [step.decode_sequences for step in steps[:3]] == [0, 1, 1]


def test_without_chunked_prefill_a_prompt_waits_until_it_fits_in_one_step():
    steps: list[Step] = []
    engine = Engine(
        TINY,
        limits(enable_chunked_prefill=False, max_num_batched_tokens=160),
        on_step=steps.append,
    )
    engine.submit(Request("a", prompt_tokens=100, max_tokens=1), 0.0)
    engine.submit(Request("b", prompt_tokens=100, max_tokens=1), 0.0)
    run(engine)
    assert [step.prefill_tokens for step in steps] == [100, 100]


def test_when_blocks_run_out_the_last_admitted_is_preempted_and_computed_anew():
    # 11 usable blocks of 16 tokens. Two prompts of 80 tokens take 5 blocks each; the 81st token of
    # a takes the last block, and b's own 81st finds none.
    engine = Engine(TINY, limits(num_gpu_blocks=12, max_num_batched_tokens=512))
    engine.submit(Request("a", prompt_tokens=80, max_tokens=5), 0.0)
    engine.submit(Request("b", prompt_tokens=80, max_tokens=5), 0.0)
    events = run(engine)
    ended = {event.request_id: event.finished for event in events if event.finished}
    assert (ended["a"].preemptions, ended["b"].preemptions) == (0, 1)
    assert engine.counters.preemptions == 1
    assert [event.index for event in events if event.request_id == "b"] == [1, 2, 3, 4, 5]
    assert ended["b"].ended > ended["a"].ended
    assert engine.kv_cache.used == 0


def test_a_preempted_request_comes_back_before_those_that_waited_longer():
    # As above, and c waits for a place: two at a time.
    engine = Engine(TINY, limits(num_gpu_blocks=12, max_num_seqs=2, max_num_batched_tokens=512))
    for name, prompt in (("a", 80), ("b", 80), ("c", 10)):
        engine.submit(Request(name, prompt_tokens=prompt, max_tokens=5), 0.0)
    events = run(engine)
    ends = [event.request_id for event in events if event.finished]
    assert engine.counters.preemptions == 1
    assert ends == ["a", "b", "c"]


def test_cancel_gives_back_the_blocks_and_lets_the_next_one_in():
    engine = Engine(TINY, limits(max_num_seqs=1))
    engine.submit(Request("a", prompt_tokens=20, max_tokens=100), 0.0)
    engine.submit(Request("b", prompt_tokens=20, max_tokens=1), 0.0)
    engine.advance(0.0)
    assert engine.kv_cache.used == 2
    finished = engine.cancel("a", 0.001)
    assert finished is not None
    assert finished.reason == "abort"
    assert engine.kv_cache.used == 0
    events = run(engine)
    assert {event.request_id for event in events} == {"b"}
    assert engine.cancel("a", engine.advance(9.0) or 9.0) is None


def test_an_idle_engine_has_no_next_event_even_after_a_cancelled_request():
    engine = Engine(TINY, limits())
    assert engine.next_event() is None
    engine.submit(Request("a", prompt_tokens=20, max_tokens=1), 3.0)
    assert engine.next_event() == 3.0
    engine.cancel("a", 3.0)
    assert engine.next_event() is None


def test_a_shared_prefix_is_computed_once():
    engine = Engine(TINY, limits(max_num_batched_tokens=512))
    prefix = (11, 12, 13)  # 48 tokens
    engine.submit(Request("a", prompt_tokens=50, max_tokens=1, prefix_hashes=prefix), 0.0)
    run(engine)
    assert engine.kv_cache.used == 0
    engine.submit(Request("b", prompt_tokens=70, max_tokens=1, prefix_hashes=(*prefix, 14)), 1.0)
    (event,) = run(engine)
    assert event.finished is not None
    assert event.finished.cached_tokens == 48
    assert (engine.counters.prefix_queries, engine.counters.prefix_hits) == (120, 48)


def test_a_prompt_that_is_cached_whole_still_computes_its_last_token():
    engine = Engine(TINY, limits())
    for name, now in (("a", 0.0), ("b", 1.0)):
        engine.submit(Request(name, prompt_tokens=32, max_tokens=1, prefix_hashes=(1, 2)), now)
        events = run(engine)
    assert events[-1].finished is not None
    assert events[-1].finished.cached_tokens == 16


@pytest.mark.parametrize(
    "request_",
    [
        Request("long", prompt_tokens=150, max_tokens=11),
        Request("empty", prompt_tokens=0, max_tokens=1),
        Request("mute", prompt_tokens=1, max_tokens=0),
    ],
    ids=lambda request: request.id,
)
def test_a_request_that_can_never_run_is_refused(request_):
    engine = Engine(TINY, limits())
    with pytest.raises(ValueError, match=request_.id):
        engine.submit(request_, 0.0)
    assert engine.waiting == 0


def test_time_may_not_be_skipped():
    engine = Engine(TINY, limits())
    engine.submit(Request("a", prompt_tokens=20, max_tokens=1), 0.0)
    with pytest.raises(ValueError, match="advance to 5"):
        engine.submit(Request("b", prompt_tokens=20, max_tokens=1), 5.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_gpu_blocks": 10}, "the KV cache holds 144 tokens"),
        ({"max_num_seqs": 0}, "at least 1"),
        ({"enable_chunked_prefill": False}, "may not be split"),
    ],
    ids=["kv-too-small", "no-seqs", "unsplit-prompt"],
)
def test_limits_that_cannot_work_are_refused_at_the_start(changes, message):
    with pytest.raises(InputError, match=message):
        Engine(TINY, limits(**changes))


arrivals = st.lists(
    st.tuples(
        st.integers(0, 40),  # ms after the one before
        st.integers(1, 120),  # prompt tokens
        st.integers(1, 40),  # output tokens
        st.integers(0, 3),  # which of four prefixes
        st.booleans(),  # cancelled later
    ),
    min_size=1,
    max_size=25,
)


def replay(plan, blocks: int, budget: int) -> tuple[Engine, list[TokenEvent], set[str], list[Step]]:
    """Submit the plan's requests in time, checking the cache after every step."""
    steps: list[Step] = []
    engine = Engine(
        TINY, limits(num_gpu_blocks=blocks, max_num_batched_tokens=budget), on_step=steps.append
    )
    events: list[TokenEvent] = []
    cancelled: set[str] = set()
    now = 0.0
    for index, (gap, prompt, output, prefix, cancel) in enumerate(plan):
        now += gap / 1000.0
        events += run_checked(engine, now)
        hashes = tuple(1000 * prefix + block for block in range(prompt // 16))
        engine.submit(Request(f"r{index}", prompt, output, None, hashes), now)
        if cancel and index and engine.cancel(f"r{index - 1}", now):
            cancelled.add(f"r{index - 1}")
    events += run_checked(engine, float("inf"))
    return engine, events, cancelled, steps


def run_checked(engine: Engine, until: float) -> list[TokenEvent]:
    events = []
    while (at := engine.next_event()) is not None and at <= until:
        events += engine.advance(at)
        assert 0 <= engine.kv_cache.used <= engine.kv_cache.capacity
        assert engine.running <= engine.limits.max_num_seqs
    if until != float("inf"):
        events += engine.advance(until)
    return events


@settings(deadline=None)
@given(arrivals, st.integers(11, 40), st.sampled_from([16, 100, 512]))
def test_every_token_is_accounted_for_whatever_arrives(plan, blocks, budget):
    engine, events, cancelled, steps = replay(plan, blocks, budget)
    assert (engine.running, engine.waiting, engine.kv_cache.used) == (0, 0, 0)
    assert [event.time for event in events] == sorted(event.time for event in events)
    for index, (_, _, output, _, _) in enumerate(plan):
        name = f"r{index}"
        indices = [event.index for event in events if event.request_id == name]
        if name in cancelled:
            assert indices == list(range(1, len(indices) + 1))
        else:
            assert indices == list(range(1, output + 1))
    assert engine.counters.generated_tokens == len(events)
    assert sum(step.generated_tokens for step in steps) == len(events)
    assert all(step.prefill_tokens + step.decode_sequences <= budget for step in steps)
    assert all(before.end <= after.start for before, after in itertools.pairwise(steps))


@settings(deadline=None)
@given(arrivals, st.integers(11, 40))
def test_requests_start_in_order_of_arrival(plan, blocks):
    _, events, _, _ = replay(plan, blocks, 100)
    scheduled = [
        (int(event.request_id[1:]), event.finished.scheduled) for event in events if event.finished
    ]
    in_order = [start for _, start in sorted(scheduled)]
    assert in_order == sorted(in_order)


@given(arrivals, st.integers(11, 40))
def test_the_same_calls_give_the_same_tokens_at_the_same_times(plan, blocks):
    assert replay(plan, blocks, 100)[1] == replay(plan, blocks, 100)[1]


@given(arrivals)
def test_how_often_it_is_advanced_does_not_matter(plan):
    engine = Engine(TINY, limits())
    now = 0.0
    events = []
    for index, (gap, prompt, output, prefix, _) in enumerate(plan):
        now += gap / 1000.0
        events += engine.advance(now)
        hashes = tuple(1000 * prefix + block for block in range(prompt // 16))
        engine.submit(Request(f"r{index}", prompt, output, None, hashes), now)
    events += engine.advance(1e9)
    assert events == replay([(*row[:4], False) for row in plan], 41, 100)[1]
