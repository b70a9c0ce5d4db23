"""Sends the requests of a plan and times the answers.

In an open loop requests leave when they are due, whatever the server does, and latencies count from
when they were due: a server that stalls is charged for all who would have come (no coordinated
omission). In a closed loop each of *concurrency* users waits for an answer before the next request.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import cycle

from stoker.clock import Clock, stopwatch
from stoker.errors import ConflictError, InputError, StokerError
from stoker.load.answer import Answer
from stoker.load.arrivals import Arrival
from stoker.load.http import Client, HttpFailure, Origin
from stoker.load.report import CANCELLED, LoadReport, Result, summarize

_CHAT = "/v1/chat/completions"
_DISCOVERY_TIMEOUT = 10.0
_PROGRESS_PERIOD = 0.25
_BURST = 32  # requests that start before answers get a turn


@dataclass(frozen=True, slots=True)
class Plan:
    """What to send.

    ``arrivals`` is read once. In a closed loop (*concurrency* is given) only their lengths matter,
    and *duration* says when the last may start. ``models`` take turns; none: all that the server
    has. ``timeout`` is of one request, from when it is sent. ``total`` is for progress bars.
    """

    arrivals: Iterable[Arrival]
    concurrency: int | None = None
    duration: float | None = None
    models: tuple[str, ...] = ()
    stream: bool = True
    ignore_eos: bool = False  # vLLM's: exactly as many tokens as asked for
    api_key: str | None = None
    timeout: float = 600.0
    total: int | None = None
    same_prompt: bool = False  # prompts of one length are equal: they hit the prefix cache


@dataclass(frozen=True, slots=True)
class Progress:
    """A run that is under way. ``elapsed`` in seconds."""

    elapsed: float
    sent: int
    ok: int
    failed: int
    output_tokens: int
    total: int | None

    @property
    def in_flight(self) -> int:
        """Requests that wait for the rest of their answer."""
        return self.sent - self.ok - self.failed


async def run(
    plan: Plan,
    url: str,
    *,
    clock: Clock | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    stop: asyncio.Event | None = None,
) -> LoadReport:
    """Send everything, wait for all answers, report. When *stop* is set: cancel what is open.

    Raises:
        InputError: the plan or the address is wrong.
        ConflictError: the server cannot be asked which models it has.
    """
    clock = clock or _Stopwatch()
    client = Client(Origin.parse(url), clock, _headers(plan))
    try:
        models = plan.models or await _models(client)
        sender = _Sender(plan, client, clock, models)
        await _until(sender, on_progress, stop)
        return summarize(sender.results)
    finally:
        client.close()


async def _until(
    sender: _Sender, on_progress: Callable[[Progress], None] | None, stop: asyncio.Event | None
) -> None:
    """Send until all is done or *stop* is set; tell the progress meanwhile."""
    sending = asyncio.create_task(sender.send_all())
    stopping = asyncio.create_task(stop.wait()) if stop else None
    waits = {sending, stopping} if stopping else {sending}
    try:
        while not sending.done() and not (stopping and stopping.done()):
            await asyncio.wait(
                waits,
                timeout=_PROGRESS_PERIOD if on_progress else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if on_progress:
                on_progress(sender.progress())
        if sending.done():
            sending.result()
    finally:
        for task in waits:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def _models(client: Client) -> tuple[str, ...]:
    """All models of the server."""
    try:
        async with asyncio.timeout(_DISCOVERY_TIMEOUT):
            status, body = await client.get("/v1/models")
    except HttpFailure as failure:
        raise ConflictError(
            f"cannot reach {client.origin}: {failure.detail}",
            hint="is it running? The address of Stoker's gateway is printed by `stoker up`",
        ) from None
    except TimeoutError:
        message = f"{client.origin} did not answer in {_DISCOVERY_TIMEOUT:g} s"
        raise ConflictError(message) from None
    try:
        models = tuple(str(model["id"]) for model in json.loads(body)["data"])
    except (ValueError, KeyError, TypeError):
        models = ()
    if status != 200 or not models:
        raise InputError(
            f"{client.origin}/v1/models lists no models (HTTP {status})",
            hint="name the model with `--model`",
        )
    return models


def _headers(plan: Plan) -> tuple[tuple[str, str], ...]:
    agent = ("User-Agent", "stoker-load")
    return (agent, ("Authorization", f"Bearer {plan.api_key}")) if plan.api_key else (agent,)


class _Stopwatch:
    """Time from an arbitrary zero. uvloop's own moves in steps of 1 ms: too coarse for gaps."""

    def now(self) -> float:
        return stopwatch()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(seconds, 0.0))


@dataclass(slots=True)
class _Sender:
    """The state of a run."""

    plan: Plan
    client: Client
    clock: Clock
    models: tuple[str, ...]
    results: list[Result] = field(default_factory=list)
    sent: int = 0
    ok: int = 0
    output_tokens: int = 0
    start: float = 0.0

    def progress(self) -> Progress:
        """The numbers now."""
        return Progress(
            elapsed=self.clock.now() - self.start,
            sent=self.sent,
            ok=self.ok,
            failed=len(self.results) - self.ok,
            output_tokens=self.output_tokens,
            total=self.plan.total,
        )

    async def send_all(self) -> None:
        """Everything, to the last answer."""
        self.start = self.clock.now()
        requests = zip(self.plan.arrivals, cycle(self.models), strict=False)
        try:
            if self.plan.concurrency is None:
                await self._open_loop(requests)
            else:
                await self._closed_loop(requests, self.plan.concurrency)
        except ExceptionGroup as group:
            for error in group.exceptions:
                if isinstance(error, StokerError):  # a wrong line of the trace
                    raise error from None
            raise

    async def _open_loop(self, requests: Iterator[tuple[Arrival, str]]) -> None:
        async with asyncio.TaskGroup() as group:
            for number, (arrival, model) in enumerate(requests, 1):
                due = self.start + arrival.at
                if (wait := due - self.clock.now()) > 0:
                    await self.clock.sleep(wait)
                elif number % _BURST == 0:
                    await self.clock.sleep(0)
                group.create_task(self._send(arrival, model, due))

    async def _closed_loop(self, requests: Iterator[tuple[Arrival, str]], users: int) -> None:
        async def user() -> None:
            for arrival, model in requests:
                now = self.clock.now()
                if self.plan.duration is not None and now - self.start >= self.plan.duration:
                    return
                await self._send(arrival, model, now)

        async with asyncio.TaskGroup() as group:
            for _ in range(users):
                group.create_task(user())

    async def _send(self, arrival: Arrival, model: str, planned: float) -> None:
        started = self.clock.now()
        self.sent += 1
        answer = Answer()
        error: str | None = CANCELLED
        detail = ""
        try:
            async with asyncio.timeout(self.plan.timeout):
                await self.client.post(_CHAT, self._body(arrival, model), answer)
            error, detail = answer.verdict()
        except TimeoutError:
            error, detail = "timeout", f"no whole answer within {self.plan.timeout:g} s"
        except HttpFailure as failure:
            error, detail = failure.kind, failure.detail
        finally:
            self.ok += error is None
            self.output_tokens += answer.output_tokens
            self.results.append(
                Result(
                    model=model,
                    planned=planned,
                    started=started,
                    finished=self.clock.now(),
                    first_token=answer.first_token,
                    gaps=answer.gaps,
                    input_tokens=answer.input_tokens or arrival.input_tokens,
                    output_tokens=answer.output_tokens,
                    error=error,
                    detail=detail,
                )
            )

    def _prompt(self, tokens: int) -> str:
        if self.plan.same_prompt or tokens < 2:
            return _hi(tokens)
        # The prefix cache of an engine finds whole blocks from the first token on.
        return f"{self.sent} {_hi(tokens - 1)}"

    def _body(self, arrival: Arrival, model: str) -> bytes:
        request: dict[str, object] = {
            "model": model,
            "messages": [{"role": "user", "content": self._prompt(arrival.input_tokens)}],
            "max_tokens": max(arrival.output_tokens, 1),
            "stream": self.plan.stream,
        }
        if self.plan.stream:
            request["stream_options"] = {"include_usage": True}
        if self.plan.ignore_eos:
            request["ignore_eos"] = True
        return json.dumps(request).encode()


@lru_cache(maxsize=256)
def _hi(tokens: int) -> str:
    """About *tokens* tokens, as the load generator of the production-stack tutorials makes them."""
    return "Hi " * max(tokens, 1)
