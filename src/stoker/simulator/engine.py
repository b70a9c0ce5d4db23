"""One vLLM replica in virtual time: continuous batching, step by step.

The scheduler is that of vLLM V1: a budget of tokens for each step, running requests first, then
waiting ones in order of arrival, prompts in chunks, KV blocks as they are needed, and preemption of
the last admitted request when there are none left (its tokens are computed anew later). How long a
step takes is the profile's business. Nothing here reads a clock or draws a random number: the same
calls give the same tokens at the same times.

The caller drives it: ``advance(now)`` up to the time of every ``next_event()``, and before each
``submit`` or ``cancel``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from stoker.errors import InputError
from stoker.simulator.kvcache import Holding, KVCache
from stoker.simulator.profiles import EngineProfile

FinishReason = Literal["stop", "length", "abort"]

_BLOCK_SIZE = 16  # tokens, vLLM's on a GPU


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds a batch, in the words of the vLLM command line."""

    max_num_seqs: int
    max_num_batched_tokens: int
    max_model_len: int
    num_gpu_blocks: int
    block_size: int = _BLOCK_SIZE
    blocks_per_hash: int = 1  # how many blocks a prefix hash stands for
    enable_chunked_prefill: bool = True

    @classmethod
    def of(cls, profile: EngineProfile, gpu_memory_utilization: float = 0.92) -> Limits:
        """What vLLM chooses on that GPU when the command line says nothing."""
        return cls(
            max_num_seqs=profile.max_num_seqs,
            max_num_batched_tokens=profile.max_num_batched_tokens,
            max_model_len=profile.max_model_len,
            num_gpu_blocks=profile.kv_blocks(gpu_memory_utilization, _BLOCK_SIZE),
        )


@dataclass(frozen=True, slots=True)
class Request:
    """A prompt and the length of its answer.

    ``natural_tokens`` is where the model would stop by itself, None where it would go on for ever.
    ``prefix_hashes`` names the content of each full block of the prompt, or of each full group of
    ``blocks_per_hash`` blocks; empty: nothing is shared.
    """

    id: str
    prompt_tokens: int
    max_tokens: int
    natural_tokens: int | None = None
    prefix_hashes: Sequence[int] = ()

    @property
    def output_tokens(self) -> int:
        """How many tokens the answer has."""
        if self.natural_tokens is None:
            return self.max_tokens
        return min(self.natural_tokens, self.max_tokens)

    @property
    def finish_reason(self) -> FinishReason:
        """Why the answer ends."""
        return "length" if self.output_tokens == self.max_tokens else "stop"


@dataclass(frozen=True, slots=True)
class Finished:
    """What is known of a request at its end. Times as in ``submit``, None: it did not happen."""

    reason: FinishReason
    arrived: float
    scheduled: float | None  # first time in a batch
    first_token: float | None
    last_token: float | None
    ended: float
    prompt_tokens: int
    cached_tokens: int  # of the prompt, found in the KV cache
    output_tokens: int
    preemptions: int


@dataclass(frozen=True, slots=True)
class TokenEvent:
    """A request has produced its *index*-th token, counted from 1."""

    time: float
    request_id: str
    index: int
    finished: Finished | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One step that is over: what was in it."""

    start: float
    end: float
    prefill_tokens: int
    decode_sequences: int
    kv_tokens: int
    prompt_tokens: int  # of the prompts that were completed in this step
    generated_tokens: int


@dataclass(slots=True)
class Counters:
    """Totals since the start, in tokens except for ``preemptions``."""

    prefix_queries: int = 0
    prefix_hits: int = 0
    preemptions: int = 0
    prompt_tokens: int = 0  # of completed prompts
    cached_tokens: int = 0  # of these, found in the KV cache
    generated_tokens: int = 0


@dataclass(slots=True, eq=False)
class _Sequence:
    request: Request
    arrived: float
    holding: Holding
    computed: int = 0  # tokens whose keys and values are in blocks
    output: int = 0
    cached: int = 0
    preemptions: int = 0
    scheduled: float | None = None
    first_token: float | None = None
    last_token: float | None = None
    done: bool = False

    @property
    def tokens(self) -> int:
        return self.request.prompt_tokens + self.output

    def finish(self, reason: FinishReason, now: float) -> Finished:
        self.done = True
        return Finished(
            reason=reason,
            arrived=self.arrived,
            scheduled=self.scheduled,
            first_token=self.first_token,
            last_token=self.last_token,
            ended=now,
            prompt_tokens=self.request.prompt_tokens,
            cached_tokens=self.cached,
            output_tokens=self.output,
            preemptions=self.preemptions,
        )


@dataclass(slots=True)
class _Plan:
    """The step that is under way."""

    start: float
    end: float = 0.0
    parts: list[tuple[_Sequence, int]] = field(default_factory=list)  # with tokens to compute
    prefill_tokens: int = 0
    decode_sequences: int = 0
    kv_tokens: int = 0

    def add(self, sequence: _Sequence, tokens: int) -> None:
        self.parts.append((sequence, tokens))
        if sequence.output and tokens == 1:
            self.decode_sequences += 1
            self.kv_tokens += sequence.computed
        else:
            self.prefill_tokens += tokens


class Engine:
    """One replica. *on_step* is told of every step that ends, in order."""

    def __init__(
        self,
        profile: EngineProfile,
        limits: Limits,
        on_step: Callable[[Step], None] | None = None,
    ) -> None:
        check_limits(limits)
        self.profile = profile
        self.limits = limits
        self.counters = Counters()
        self.kv_cache = KVCache(limits.num_gpu_blocks, limits.block_size, limits.blocks_per_hash)
        self._on_step = on_step
        self._waiting: deque[_Sequence] = deque()
        self._running: list[_Sequence] = []  # in order of admission
        self._sequences: dict[str, _Sequence] = {}
        self._plan: _Plan | None = None
        self._wake_at: float | None = None  # when an idle engine begins its next step
        self._now = float("-inf")

    @property
    def running(self) -> int:
        """Requests in the batch."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return len(self._waiting)

    def submit(self, request: Request, now: float) -> None:
        """Queue *request*. ValueError when it can never fit or its id is taken."""
        self._move_to(now)
        if request.prompt_tokens < 1 or request.max_tokens < 1 or request.output_tokens < 1:
            raise ValueError(f"request {request.id} has no prompt or asks for no token")
        if request.prompt_tokens + request.max_tokens > self.limits.max_model_len:
            raise ValueError(f"request {request.id} is longer than max_model_len")
        if request.id in self._sequences:
            raise ValueError(f"request {request.id} is here already")
        sequence = _Sequence(request, now, Holding(request.prefix_hashes))
        self._sequences[request.id] = sequence
        self._waiting.append(sequence)
        if self._plan is None and self._wake_at is None:
            self._wake_at = now

    def cancel(self, request_id: str, now: float) -> Finished | None:
        """Drop a request and give back its blocks. None: there is no such request any more."""
        self._move_to(now)
        sequence = self._sequences.pop(request_id, None)
        if sequence is None:
            return None
        (self._running if sequence in self._running else self._waiting).remove(sequence)
        self.kv_cache.release(sequence.holding)
        if self._plan is None and not self._waiting:
            self._wake_at = None
        return sequence.finish("abort", now)

    def next_event(self) -> float | None:
        """When ``advance`` has something to do. None: idle until the next ``submit``."""
        return self._plan.end if self._plan is not None else self._wake_at

    def advance(self, now: float) -> list[TokenEvent]:
        """Run all steps that end until *now*, and begin the next. The tokens, in order of time."""
        events: list[TokenEvent] = []
        while (at := self.next_event()) is not None and at <= now:
            self._now = at
            if self._plan is not None:
                events += self._complete(self._plan)
            self._begin(at)
        self._now = max(self._now, now)
        return events

    def _move_to(self, now: float) -> None:
        at = self.next_event()
        if now < self._now or (at is not None and at < now):
            raise ValueError(f"advance to {now} first: the engine is at {self._now}")
        self._now = now

    def _begin(self, start: float) -> None:
        plan = _Plan(start)
        budget = self._continue_running(plan, self.limits.max_num_batched_tokens)
        if budget is not None:
            self._admit_waiting(plan, budget)
        self._wake_at = None
        self._plan = plan if plan.parts else None
        plan.end = start + self.profile.step_seconds(
            plan.prefill_tokens, plan.decode_sequences, plan.kv_tokens
        )

    def _continue_running(self, plan: _Plan, budget: int) -> int | None:
        """Plan the running requests. The budget that is left, None if one had to be preempted."""
        preempted = False
        index = 0
        while index < len(self._running) and budget > 0:
            sequence = self._running[index]
            tokens = min(sequence.tokens - sequence.computed, budget)
            while not self.kv_cache.grow(sequence.holding, sequence.computed + tokens):
                preempted = True
                if self._preempt_last() is sequence:
                    return None
            plan.add(sequence, tokens)
            budget -= tokens
            index += 1
        return None if preempted else budget

    def _preempt_last(self) -> _Sequence:
        victim = self._running.pop()
        self.kv_cache.release(victim.holding)
        victim.computed = 0
        victim.preemptions += 1
        self.counters.preemptions += 1
        self._waiting.appendleft(victim)
        return victim

    def _admit_waiting(self, plan: _Plan, budget: int) -> None:
        while self._waiting and budget > 0 and len(self._running) < self.limits.max_num_seqs:
            sequence = self._waiting[0]
            cached = self.kv_cache.cached_blocks(sequence.holding.hashes, sequence.tokens)
            computed = cached * self.limits.block_size * self.limits.blocks_per_hash
            tokens = sequence.tokens - computed
            if tokens > budget and not self.limits.enable_chunked_prefill:
                return
            tokens = min(tokens, budget)
            if not self.kv_cache.admit(sequence.holding, cached, computed + tokens):
                return
            self._running.append(self._waiting.popleft())
            sequence.computed = computed
            if sequence.scheduled is None:
                sequence.scheduled = plan.start
                sequence.cached = computed
                self.counters.prefix_queries += sequence.request.prompt_tokens
                self.counters.prefix_hits += computed
            plan.add(sequence, tokens)
            budget -= tokens

    def _complete(self, plan: _Plan) -> list[TokenEvent]:
        events = []
        prompt_tokens = 0
        for sequence, tokens in plan.parts:
            if sequence.done:  # cancelled during the step
                continue
            sequence.computed += tokens
            self.kv_cache.publish(sequence.holding, sequence.computed)
            if sequence.computed == sequence.tokens:
                if not sequence.output:
                    prompt_tokens += sequence.request.prompt_tokens
                    self.counters.cached_tokens += sequence.cached
                events.append(self._produce(sequence, plan.end))
        self._running = [sequence for sequence in self._running if not sequence.done]
        self.counters.prompt_tokens += prompt_tokens
        self.counters.generated_tokens += len(events)
        if self._on_step is not None:
            self._on_step(
                Step(
                    plan.start,
                    plan.end,
                    plan.prefill_tokens,
                    plan.decode_sequences,
                    plan.kv_tokens,
                    prompt_tokens,
                    len(events),
                )
            )
        self._plan = None
        return events

    def _produce(self, sequence: _Sequence, now: float) -> TokenEvent:
        sequence.output += 1
        sequence.last_token = now
        if sequence.first_token is None:
            sequence.first_token = now
        request = sequence.request
        if sequence.output < request.output_tokens:
            return TokenEvent(now, request.id, sequence.output)
        self.kv_cache.release(sequence.holding)
        del self._sequences[request.id]
        return TokenEvent(
            now, request.id, sequence.output, sequence.finish(request.finish_reason, now)
        )


def check_limits(limits: Limits) -> None:
    """Raise InputError when an engine with *limits* would refuse to start."""
    tokens = (limits.num_gpu_blocks - 1) * limits.block_size
    if limits.max_model_len > tokens:
        raise InputError(
            f"max_model_len {limits.max_model_len} does not fit: "
            f"the KV cache holds {max(tokens, 0)} tokens",
            hint="a smaller --max-model-len, or a larger --gpu-memory-utilization",
        )
    if limits.max_num_seqs < 1 or limits.max_num_batched_tokens < 1:
        raise InputError("max_num_seqs and max_num_batched_tokens must be at least 1")
    if not limits.enable_chunked_prefill and limits.max_num_batched_tokens < limits.max_model_len:
        raise InputError(
            f"max_num_batched_tokens {limits.max_num_batched_tokens} is smaller than max_model_len "
            f"{limits.max_model_len}, and prompts may not be split",
            hint="a larger --max-num-batched-tokens, or --enable-chunked-prefill",
        )
