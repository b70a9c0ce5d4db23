"""One engine from event to event."""

from __future__ import annotations

import math

from stoker.simulator.compiled import compiled, inner
from stoker.simulator.fleet.batch import (
    dequeue,
    finish,
    preempt_last,
    start_decoding,
    stop_decoding,
)
from stoker.simulator.fleet.counting import observe_gap, observe_gaps
from stoker.simulator.fleet.prefixes import (
    admit,
    blocks_for,
    cached_hashes,
    free_blocks,
    publish,
    take,
)
from stoker.simulator.fleet.state import (
    ADMISSIONS,
    APP,
    BATCH,
    BLOCK,
    BLOCKS_PER_HASH,
    CACHED_TOKENS,
    CHUNKED,
    CONTEXT,
    DECODES,
    DECODES_BEFORE,
    DECODING,
    FIRST,
    FIRSTS,
    GENERATED_TOKENS,
    HEAP,
    IDLE,
    KV,
    MAX_SEQS,
    MAX_TOKENS,
    MIXED,
    MORE,
    NOT_DECODING,
    PARTS,
    PARTS_OF,
    PLAN,
    PREFILL,
    PREFIX_HITS,
    PREFIX_QUERIES,
    PROMPT_TOKENS,
    Q_ADMITTED,
    Q_BASE,
    Q_CACHED,
    Q_COMPUTED,
    Q_FINISH,
    Q_OUTPUT,
    Q_PRODUCED,
    Q_PROMPT,
    Q_STATUS,
    QUEUE_HEAD,
    QUEUED,
    RUNNING,
    RUNS,
    SEQUENCE,
    START,
    STEP,
    STEPS,
    T_FIRST,
    T_LAST,
    T_SCHEDULED,
    TOKENS_OF,
    WAKING,
    WEIGHTS,
    State,
)


@compiled
def advance(s: State, r: int, now: float) -> None:
    """Do everything that happens before *now*."""
    number, clock = s.number[r], s.clock[r]
    while number[PLAN] != IDLE:
        if number[PLAN] == WAKING:
            if clock[START] >= now:
                return
            _begin(s, r, clock[START])
            continue
        end = _end_of(clock[START], clock[FIRST], clock[MORE], number[STEPS])
        if end >= now:
            return
        if number[PLAN] == DECODING:
            _decode(s, r, number[STEPS])
        else:
            _complete(s, r)
        _end_answers(s, r, end)
        _begin(s, r, end)


@inner
def next_event(s: State, r: int) -> float:
    """When something ends or begins; infinite while it is idle."""
    number, clock = s.number[r], s.clock[r]
    if number[PLAN] == IDLE:
        return math.inf
    if number[PLAN] == WAKING:
        return clock[START]
    return _end_of(clock[START], clock[FIRST], clock[MORE], number[STEPS])


@inner
def settle(s: State, r: int, now: float) -> None:
    """After ``advance``: count the steps of a run that ended before *now*, and keep the rest."""
    number, clock = s.number[r], s.clock[r]
    if number[PLAN] != DECODING or number[STEPS] == 1:
        return
    done = _steps_before(clock[START], clock[FIRST], clock[MORE], number[STEPS], now)
    if done == 0:
        return
    end = _end_of(clock[START], clock[FIRST], clock[MORE], done)
    _decode(s, r, done)
    take(s, r, _growth(s, r, number[STEP], 1))  # of the step that is under way
    number[STEPS] -= done
    clock[START] = end
    clock[FIRST] += done * clock[MORE]


@inner
def wake(s: State, r: int, now: float) -> None:
    """A request has come; ``advance`` was called. The next step is planned with it in mind."""
    number = s.number[r]
    if number[PLAN] == IDLE:
        number[PLAN] = WAKING
        s.clock[r, START] = now
    elif number[PLAN] == DECODING and number[QUEUED] == 1:
        # Behind others that do not fit it would change nothing.
        settle(s, r, now)
        number[STEPS] = 1


# -- a run of decode steps -----------------------------------------------------------------------


@inner
def _end_of(start: float, first: float, more: float, steps: int) -> float:
    return start + (steps * first + more * (steps * (steps - 1) / 2.0))


@inner
def _steps_before(start: float, first: float, more: float, steps: int, now: float) -> int:
    """How many of the *steps* end before *now*; the last of them does not."""
    gone = now - start
    if gone <= 0.0:
        return 0
    linear = first - more / 2.0
    done = int(2.0 * gone / (linear + math.sqrt(linear * linear + 2.0 * more * gone)))
    done = min(max(done, 0), steps - 1)
    while done + 1 < steps and _end_of(start, first, more, done + 1) < now:
        done += 1
    while done > 0 and _end_of(start, first, more, done) >= now:
        done -= 1
    return done


@inner
def _growth(s: State, r: int, step: int, steps: int) -> int:
    """Blocks that *steps* steps from *step* on need. A sequence needs one every BLOCK steps."""
    size = s.app[s.number[r, APP], BLOCK]
    blocks = steps // size * s.number[r, DECODES]
    for i in range(steps % size):
        blocks += s.residues[r, (step + i) % size]
    return blocks


@inner
def _decode(s: State, r: int, steps: int) -> None:
    """Every sequence has *steps* tokens more. The blocks of the first step are taken already."""
    number, clock = s.number[r], s.clock[r]
    decodes = number[DECODES]
    if steps > 1:
        take(s, r, _growth(s, r, number[STEP] + 1, steps - 1))
    observe_gaps(s, r, clock[FIRST], clock[MORE], steps, decodes)
    number[STEP] += steps
    number[CONTEXT] += decodes * steps
    number[GENERATED_TOKENS] += decodes * steps


@inner
def _end_answers(s: State, r: int, now: float) -> None:
    """Those that have made their last token, in the order of admission. Then come prompts."""
    number = s.number[r]
    while number[DECODES] and s.request[s.lists[r, HEAP, 0], Q_FINISH] == number[STEP]:
        request = s.lists[r, HEAP, 0]
        stop_decoding(s, r, request)
        finish(s, r, request, now)
    if number[PARTS]:
        _end_parts(s, r, now)


# -- a step with prompts in it -------------------------------------------------------------------


@inner
def _complete(s: State, r: int) -> None:
    """Count a step with prompts. What becomes of them follows when answers have ended."""
    number, clock = s.number[r], s.clock[r]
    decodes = number[DECODES]
    if decodes:
        observe_gap(s, r, clock[FIRST], decodes)
    number[STEP] += 1
    number[CONTEXT] += decodes
    number[GENERATED_TOKENS] += decodes


@inner
def _end_parts(s: State, r: int, now: float) -> None:
    number = s.number[r]
    for i in range(number[PARTS]):
        request = s.lists[r, PARTS_OF, i]
        s.request[request, Q_COMPUTED] += s.lists[r, TOKENS_OF, i]
        publish(s, r, request, s.request[request, Q_COMPUTED])
        if (
            s.request[request, Q_COMPUTED]
            < s.request[request, Q_PROMPT] + s.request[request, Q_PRODUCED]
        ):
            continue
        number[GENERATED_TOKENS] += 1
        if s.request[request, Q_PRODUCED] == 0:
            number[PROMPT_TOKENS] += s.request[request, Q_PROMPT]
            number[CACHED_TOKENS] += s.request[request, Q_CACHED]
            s.times[request, T_FIRST] = now
            s.log[0, s.world[FIRSTS]] = request
            s.world[FIRSTS] += 1
        else:
            observe_gap(s, r, now - s.times[request, T_LAST], 1)
        s.request[request, Q_PRODUCED] += 1
        if s.request[request, Q_PRODUCED] == s.request[request, Q_OUTPUT]:
            finish(s, r, request, now)
        else:
            start_decoding(s, r, request)
    number[PARTS] = 0


# -- what the next step consists of --------------------------------------------------------------


@inner
def _begin(s: State, r: int, now: float) -> None:
    """Plan the next step, or the next run of steps that are alike."""
    number, clock = s.number[r], s.clock[r]
    app = number[APP]
    went_on = _continue_batch(s, r, now)
    if went_on and number[QUEUED]:
        _admit_waiting(s, r, now)
    decodes, context, prompt_tokens = number[DECODES], number[CONTEXT], 0
    for i in range(number[PARTS]):
        request, tokens = s.lists[r, PARTS_OF, i], s.lists[r, TOKENS_OF, i]
        if tokens == 1 and s.request[request, Q_PRODUCED]:  # nearly all of it was in the cache
            decodes += 1
            context += s.request[request, Q_COMPUTED]
        else:
            prompt_tokens += tokens
    number[DECODES_BEFORE] = number[DECODES]
    clock[START] = now
    rate = s.rate[app]
    compute_ms = max(rate[WEIGHTS], rate[PREFILL] * prompt_tokens)
    decode_ms = rate[SEQUENCE] * decodes + rate[KV] * context
    clock[FIRST] = (compute_ms + decode_ms) / 1000.0
    clock[MORE] = 0.0
    number[STEPS] = 1
    if number[PARTS]:
        number[PLAN] = MIXED
    elif number[DECODES]:
        number[PLAN] = DECODING
        if went_on:
            clock[MORE] = rate[KV] * number[DECODES] / 1000.0
            number[STEPS] = _steps_alike(s, r)
    else:
        number[PLAN] = IDLE


@inner
def _steps_alike(s: State, r: int) -> int:
    """How many steps until a sequence ends or a block is missing."""
    number = s.number[r]
    decodes, size = number[DECODES], s.app[number[APP], BLOCK]
    steps = s.request[s.lists[r, HEAP, 0], Q_FINISH] - number[STEP]
    free = free_blocks(s, r)
    if decodes * ((steps + size - 2) // size) <= free:
        return steps
    whole = free // decodes  # rounds of BLOCK steps that fit for sure
    alike = min(1 + whole * size, steps)
    free -= _growth(s, r, number[STEP] + 1, alike - 1)
    while alike < steps:
        free -= s.residues[r, (number[STEP] + alike) % size]
        if free < 0:
            break
        alike += 1
    return alike


@inner
def _continue_batch(s: State, r: int, now: float) -> bool:
    """Blocks for the running ones, and the next part of a prompt. False: one was preempted."""
    number = s.number[r]
    size = s.app[number[APP], BLOCK]
    needed = s.residues[r, number[STEP] % size]
    if needed > free_blocks(s, r):
        return _continue_without_room(s, r, now)
    take(s, r, needed)
    if number[RUNS] == number[DECODES]:
        return True
    return _continue_prompt(s, r, number[RUNS] - 1, now)


@inner
def _continue_prompt(s: State, r: int, at: int, now: float) -> bool:
    """The next part of the prompt that stands at *at*, the last in the batch."""
    number = s.number[r]
    request = s.lists[r, BATCH, at]
    rest = (
        s.request[request, Q_PROMPT]
        + s.request[request, Q_PRODUCED]
        - s.request[request, Q_COMPUTED]
    )
    tokens = min(rest, s.app[number[APP], MAX_TOKENS] - at)
    new = blocks_for(s, r, s.request[request, Q_COMPUTED] + tokens) - blocks_for(
        s, r, s.request[request, Q_COMPUTED]
    )
    if new > free_blocks(s, r):
        preempt_last(s, r, now)
        return False
    take(s, r, new)
    s.lists[r, PARTS_OF, number[PARTS]] = request
    s.lists[r, TOKENS_OF, number[PARTS]] = tokens
    number[PARTS] += 1
    return True


@inner
def _continue_without_room(s: State, r: int, now: float) -> bool:
    """One after the other, the last ones giving way to those before them."""
    number = s.number[r]
    size = s.app[number[APP], BLOCK]
    preempted = False
    at = 0
    while at < number[RUNS]:
        request = s.lists[r, BATCH, at]
        if s.request[request, Q_BASE] == NOT_DECODING:
            return _continue_prompt(s, r, at, now) and not preempted
        needs = 1 if (s.request[request, Q_BASE] + number[STEP]) % size == 0 else 0
        while needs > free_blocks(s, r):
            preempted = True
            if preempt_last(s, r, now) == request:
                return False
        take(s, r, needs)
        at += 1
    return not preempted


@inner
def _admit_waiting(s: State, r: int, now: float) -> None:
    number = s.number[r]
    limit = s.app[number[APP]]
    budget = limit[MAX_TOKENS] - number[DECODES]
    if number[PARTS]:
        budget -= s.lists[r, TOKENS_OF, 0]
    while number[QUEUED] and budget > 0 and number[RUNS] < limit[MAX_SEQS]:
        request = number[QUEUE_HEAD]
        total = s.request[request, Q_PROMPT] + s.request[request, Q_PRODUCED]
        cached = cached_hashes(s, r, request, total)
        computed = cached * limit[BLOCK] * limit[BLOCKS_PER_HASH]
        tokens = total - computed
        if tokens > budget and not limit[CHUNKED]:
            return
        tokens = min(tokens, budget)
        if not admit(s, r, request, cached, computed + tokens):
            return
        dequeue(s, r)
        s.lists[r, BATCH, number[RUNS]] = request
        number[RUNS] += 1
        s.request[request, Q_ADMITTED] = number[ADMISSIONS]
        number[ADMISSIONS] += 1
        s.request[request, Q_STATUS] = RUNNING
        s.request[request, Q_COMPUTED] = computed
        if math.isnan(s.times[request, T_SCHEDULED]):
            s.times[request, T_SCHEDULED] = now
            s.request[request, Q_CACHED] = computed
            number[PREFIX_QUERIES] += s.request[request, Q_PROMPT]
            number[PREFIX_HITS] += computed
        s.lists[r, PARTS_OF, number[PARTS]] = request
        s.lists[r, TOKENS_OF, number[PARTS]] = tokens
        number[PARTS] += 1
        budget -= tokens
