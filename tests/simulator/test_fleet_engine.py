"""From event to event, and step by step: the same times, tokens and counts."""

import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stoker.simulator.compiled import IS_COMPILED
from stoker.simulator.engine import Engine, Limits, Request
from stoker.simulator.fleet import counting
from stoker.simulator.fleet import state as at
from stoker.simulator.fleet.counting import FINE_BOUNDS
from stoker.simulator.fleet.fleet import Fleet, Server
from stoker.simulator.fleet.handle import handle
from stoker.simulator.profiles import PROFILES
from stoker.traces import Arrivals, PromptBlocks

pytestmark = pytest.mark.timeout(300)  # the first test may have to wait for the compiler
TINY = PROFILES["tiny"]


def in_python(function):
    """What is compiled for compiled callers alone, as Python."""
    return getattr(function, "py_func", function)


fine_bucket_of = in_python(counting.fine_bucket)
coarse_bucket_of = in_python(counting.coarse_bucket)


def limits(**changes) -> Limits:
    values = {
        "max_num_seqs": 4,
        "max_num_batched_tokens": 100,
        "max_model_len": 160,
        "num_gpu_blocks": 41,
    }
    return Limits(**{**values, **changes})


def arrivals(requests, hashes=None, block_size=16) -> Arrivals:
    blocks = None
    if hashes is not None:
        flat = np.array([h for one in hashes for h in one], np.int64)
        blocks = PromptBlocks(flat, np.cumsum([0, *map(len, hashes)]), block_size)
    times, prompts, outputs = zip(*requests, strict=True)
    return Arrivals.of(times, prompts, outputs, blocks=blocks)


def reference(trace: Arrivals, limits: Limits, profile=TINY):
    """Each request's scheduled, first and last time, and the engine."""
    engine = Engine(profile, limits)
    first, found = {}, {}

    def advance(until):
        while (event := engine.next_event()) is not None and event < until:
            for token in engine.advance(event):
                if token.index == 1:
                    first[token.request_id] = token.time
                if token.finished is not None:
                    found[int(token.request_id)] = token.finished

    for i in range(len(trace)):
        hashes = () if trace.blocks is None else trace.blocks.of(i).tolist()
        size = limits.block_size * limits.blocks_per_hash
        hashes = hashes[: int(trace.prompt_tokens[i]) // size]
        advance(trace.times[i])
        request = Request(
            str(i), int(trace.prompt_tokens[i]), int(trace.output_tokens[i]), None, hashes
        )
        engine.submit(request, float(trace.times[i]))
    advance(math.inf)
    return found, engine


def fleet(trace: Arrivals, limits: Limits, stops=(), profile=TINY) -> Fleet:
    made = Fleet(trace, [Server(profile, limits)])
    slot = made.add(0)
    made.ready(slot, 0.0, warm=True)
    for stop in stops:
        assert made.run(stop) == stop
    made.run(math.inf)
    return made


def assert_same(trace, bounds, stops=(), profile=TINY):
    expected, engine = reference(trace, bounds, profile)
    made = fleet(trace, bounds, stops, profile)
    s = made.state
    assert (s.request[:, at.Q_STATUS] == at.DONE).all()
    for i, end in expected.items():
        close = lambda value: pytest.approx(value, rel=1e-9, abs=1e-9)  # noqa: E731
        assert s.times[i, at.T_SCHEDULED] == close(end.scheduled), i
        assert s.times[i, at.T_FIRST] == close(end.first_token), i
        assert s.times[i, at.T_LAST] == close(end.ended), i
        assert tuple(s.request[i, [at.Q_PREEMPTED, at.Q_CACHED]]) == (
            end.preemptions,
            end.cached_tokens,
        ), i
    totals, number = engine.counters, s.number[0]
    assert number[at.GENERATED_TOKENS] == totals.generated_tokens
    assert number[at.PROMPT_TOKENS] == totals.prompt_tokens
    assert number[at.CACHED_TOKENS] == totals.cached_tokens
    assert number[at.PREFIX_HITS] == totals.prefix_hits
    assert number[at.PREEMPTIONS] == totals.preemptions
    assert (number[at.PRIVATE], number[at.SHARED], number[at.IN_FLIGHT]) == (0, 0, 0)
    assert number[at.CONTEXT] == number[at.DECODES] == number[at.RUNS] == 0
    assert not s.residues[0].any()
    return engine


def test_two_requests_take_the_time_computed_by_hand():
    trace = arrivals([(0.0, 120, 3), (0.005, 50, 2)])
    s = fleet(trace, limits(max_num_batched_tokens=512)).state
    assert s.times[:, at.T_FIRST].tolist() == pytest.approx([0.012, 0.0242])
    assert s.times[:, at.T_LAST].tolist() == pytest.approx([0.03791, 0.03791])


_requests = st.lists(
    st.tuples(st.floats(0.0, 3.0), st.integers(1, 120), st.integers(1, 40)),
    min_size=1,
    max_size=40,
).map(sorted)
_limits = st.builds(
    limits,
    max_num_seqs=st.integers(1, 8),
    max_num_batched_tokens=st.integers(1, 200),
    num_gpu_blocks=st.integers(11, 60),
)
_stops = st.lists(st.floats(0.0, 6.0), max_size=8).map(sorted)


@settings(max_examples=300, deadline=None)
@given(_requests, _limits, _stops)
def test_any_traffic_ends_at_the_same_times(requests, bounds, stops):
    assert_same(arrivals(requests), bounds, stops)


@settings(max_examples=100, deadline=None)
@given(_requests, st.integers(1, 8), st.integers(160, 300), st.integers(11, 60), _stops)
def test_prompts_that_may_not_be_split_wait_for_a_whole_budget(
    requests, seqs, budget, blocks, stops
):
    bounds = limits(
        max_num_seqs=seqs,
        max_num_batched_tokens=budget,
        num_gpu_blocks=blocks,
        enable_chunked_prefill=False,
    )
    assert_same(arrivals(requests), bounds, stops)


@st.composite
def _conversations(draw, group):
    """Prompts that are prefixes of each other, as in a conversation."""
    requests = draw(_requests)
    size = 16 * group
    hashes = []
    for _, prompt, _ in requests:
        tree = draw(st.integers(0, 3))
        hashes.append([tree * 1000 + block for block in range(prompt // size)])
    return arrivals(requests, hashes, size)


@settings(max_examples=200, deadline=None)
@given(_conversations(1), _limits, _stops)
def test_shared_prompts_are_cached_and_forgotten_alike(trace, bounds, stops):
    assert_same(trace, bounds, stops)


@settings(max_examples=100, deadline=None)
@given(_conversations(2), st.integers(1, 8), st.integers(20, 60))
def test_so_are_hashes_of_several_blocks(trace, seqs, blocks):
    assert_same(trace, limits(max_num_seqs=seqs, num_gpu_blocks=blocks, blocks_per_hash=2))


def test_long_answers_under_pressure_are_preempted_and_still_agree():
    requests = [(i * 0.01, 60, 90) for i in range(30)]
    engine = assert_same(arrivals(requests), limits(max_num_seqs=8, num_gpu_blocks=25))
    assert engine.counters.preemptions > 10


def test_gaps_between_tokens_are_those_of_every_single_token():
    requests = [(i * 0.05, 20 + 7 * i, 30) for i in range(12)]
    trace, bounds = arrivals(requests), limits(max_num_seqs=8, num_gpu_blocks=25)
    engine = Engine(TINY, bounds)
    gaps, last = [], {}
    for i, (time, prompt, output) in enumerate(requests):
        while (event := engine.next_event()) is not None and event < time:
            collect(engine.advance(event), last, gaps)
        engine.submit(Request(str(i), prompt, output), time)
    while (event := engine.next_event()) is not None:
        collect(engine.advance(event), last, gaps)
    s = fleet(trace, bounds, stops=[0.3, 0.31, 0.9]).state
    edges = np.concatenate([[0.0], s.fine_bounds, [np.inf]])
    # A step that lasts as long as a bound says may come out on either side of it.
    counts = np.cumsum(s.fine[0])
    assert counts[-1] == len(gaps)
    for i, bound in enumerate(edges[1:-1]):
        assert np.sum(np.array(gaps) < bound * (1 - 1e-12)) <= counts[i]
        assert counts[i] <= np.sum(np.array(gaps) < bound * (1 + 1e-12))
    assert s.clock[0, at.GAP_SUM] == pytest.approx(sum(gaps))


def collect(events, last, gaps):
    for event in events:
        if event.request_id in last:
            gaps.append(event.time - last[event.request_id])
        last[event.request_id] = event.time


_WITHOUT = """
import sys
if sys.argv[1] == "without":
    sys.modules["numba"] = None
import numpy as np
from stoker.simulator.compiled import IS_COMPILED
from stoker.simulator.engine import Limits
from stoker.simulator.fleet.fleet import Fleet, Server
from stoker.simulator.fleet.handle import handle
from stoker.simulator.profiles import PROFILES
from stoker.traces import Arrivals

assert IS_COMPILED == (sys.argv[1] == "with")
numbers = np.random.default_rng(7)
trace = Arrivals.of(
    np.cumsum(numbers.exponential(0.01, 300)),
    numbers.integers(1, 120, 300),
    numbers.integers(1, 40, 300),
)
fleet = Fleet(trace, [Server(PROFILES["tiny"], Limits(6, 100, 160, 41))])
for _ in range(2):
    fleet.ready(fleet.add(0), 0.0, warm=True)
fleet.run(float("inf"))
sys.stdout.buffer.write(fleet.state.times.tobytes() + fleet.state.fine.tobytes())
"""


@pytest.mark.timeout(300)
def test_without_numba_every_bit_is_the_same():
    """The compiled loop and the interpreted one: the same functions, the same numbers."""
    pytest.importorskip("numba")
    outputs = [
        subprocess.run(
            [sys.executable, "-c", _WITHOUT, how], check=True, capture_output=True
        ).stdout
        for how in ("with", "without")
    ]
    assert len(outputs[0]) > 300 * 8
    assert outputs[0] == outputs[1]


@given(st.floats(1e-7, 2000.0) | st.sampled_from(FINE_BOUNDS.tolist()))
def test_a_bucket_that_is_computed_is_the_one_that_is_looked_up(seconds):
    for value in (seconds, np.nextafter(seconds, 0.0), np.nextafter(seconds, math.inf)):
        assert fine_bucket_of(value) == np.searchsorted(FINE_BOUNDS, value, "left")
        coarse = np.array([0.01, 0.025, 0.05, seconds + 0.05])
        assert coarse_bucket_of(coarse, value) == np.searchsorted(coarse, value, "left")


@pytest.mark.skipif(not IS_COMPILED, reason="without Numba the arrays themselves are handed over")
def test_compiled_functions_get_no_array_that_they_would_misread():
    state = fleet(arrivals([(0.0, 20, 3)]), limits()).state
    with pytest.raises(ValueError, match="compiled functions expect"):
        handle(state._replace(times=state.times[:, ::2]))
    with pytest.raises(ValueError, match="compiled functions expect"):
        handle(state._replace(world=state.times))
