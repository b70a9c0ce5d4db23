"""What goes around every trigger of a live run: KEDA's retry, what is counted, what is told.

A trigger that fails is built anew, with its secrets read again, and asked once more at once. What
still fails is one error. A line is logged when a trigger begins to fail and when it answers again,
not at every poll, and no line, no error and no record has a secret in it.

*Source*: ``pkg/scaling/cache/scalers_cache.go`` of KEDA 2.20.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from urllib.parse import quote, quote_plus

from stoker.clock import stopwatch
from stoker.errors import InputError, StokerError
from stoker.scaling.observation import TriggerReading
from stoker.scaling.spec import RESOURCE_TRIGGERS, TriggerSpec
from stoker.triggers.base import Trigger, TriggerContext, read_all
from stoker.triggers.parameters import HIDDEN, Given, secret_values
from stoker.triggers.registry import SUPPORTED, build_trigger

_log = logging.getLogger(__name__)
_SHORTEST = 3  # characters of a text that is hidden wherever it stands


@dataclass(slots=True)
class TriggerRecord:
    """What is known of one metric of a trigger. Times are seconds since the Unix epoch.

    ``errors`` counts reads that failed in spite of the retry, ``requests`` all reads.
    """

    spec: TriggerSpec
    metric_name: str
    target: float
    value: float | None = None  # of the last good read; None: there was none
    active: bool = False
    latency: float = 0.0  # seconds that the last read took
    requests: int = 0
    errors: int = 0
    failing_since: float | None = None  # None: the last read was good
    failed_in_a_row: int = 0
    last_success: float | None = None
    last_error: str = ""

    def note(self, reading: TriggerReading, now: float, latency: float) -> None:
        """Remember a read."""
        self.requests += 1
        self.latency = latency
        self.target = reading.target
        self.active = reading.active
        if reading.error is None:
            self.value = reading.value
            self.last_success = now
            self.failing_since = None
            self.failed_in_a_row = 0
            return
        self.errors += 1
        self.failed_in_a_row += 1
        self.last_error = reading.error
        if self.failing_since is None:
            self.failing_since = now


class PolledTrigger:
    """A trigger with what KEDA does around it.

    ``context_for`` gives what the trigger is built from; it is asked at every build, so that
    secrets that were changed are read. ``on_change`` is told, as a reason and a sentence, what KEDA
    has no event for: a trigger that answers again.
    """

    def __init__(
        self,
        spec: TriggerSpec,
        context_for: Callable[[TriggerSpec], TriggerContext],
        *,
        about: str = "",
        on_change: Callable[[str, str], None] = lambda _reason, _sentence: None,
    ) -> None:
        self.spec = spec
        self._on_change = on_change
        self.records: dict[str, TriggerRecord] = {}
        self._about = about
        self._context_for = context_for
        # what the HPA reads by itself KEDA neither counts nor tries again
        self._is_kedas = spec.type not in RESOURCE_TRIGGERS and spec.metric is None
        self._memory: dict[str, float] = {}
        self._hidden: tuple[str, ...] = ()
        self._trigger: Trigger | None = None
        self._trigger = self._built()
        self._name, self._target = self._trigger.metric_name, self._trigger.target
        self.records[self._name] = TriggerRecord(spec, self._name, self._target)

    @property
    def is_kedas(self) -> bool:
        """Whether KEDA reads it; the HPA reads cpu, memory and metrics of its own by itself."""
        return self._is_kedas

    @property
    def metric_name(self) -> str:
        """Of the trigger, as it was last built."""
        return self._name if self._trigger is None else self._trigger.metric_name

    @property
    def target(self) -> float:
        """Of the trigger, as it was last built."""
        return self._target if self._trigger is None else self._trigger.target

    async def read(self, now: float) -> TriggerReading:
        """The first metric only; see :meth:`read_all`."""
        return (await self.read_all(now))[0]

    async def read_all(self, now: float) -> tuple[TriggerReading, ...]:
        """Ask, once more if need be, and remember how it went."""
        begin = stopwatch()
        readings = await self._read(now)
        if self._is_kedas and _failed(readings):
            await self.close()
            readings = await self._read(now)
        if _failed(readings):
            readings = tuple(self._without_secrets(reading) for reading in readings)
        self._note(readings, now, stopwatch() - begin)
        return readings

    async def close(self) -> None:
        """Give back what the trigger holds; the next read builds it anew."""
        trigger, self._trigger = self._trigger, None
        if trigger is not None:
            self._name, self._target = trigger.metric_name, trigger.target
            await trigger.close()

    def _built(self) -> Trigger:
        context = replace(self._context_for(self.spec), memory=self._memory)
        made = SUPPORTED.get(self.spec.type)
        given = Given(self.spec.metadata, context.auth, context.env)
        secrets = secret_values(made.PARAMETERS if made is not None else (), given)
        self._hidden = hidden_texts(secrets)
        try:
            return build_trigger(self.spec, context)
        except InputError as error:
            raise InputError(hide(error.message, self._hidden), hint=error.hint) from None

    async def _read(self, now: float) -> tuple[TriggerReading, ...]:
        if self._trigger is None:
            try:
                self._trigger = self._built()
            except StokerError as error:
                return (self._unbuilt(error),)
        return await read_all(self._trigger, now)

    def _unbuilt(self, error: StokerError) -> TriggerReading:
        return TriggerReading(
            index=self.spec.index,
            metric_name=self._name,
            value=None,
            target=self._target,
            error=error.message,
            metric_type=self.spec.metric_type,
            trigger_name=self.spec.name,
            type=self.spec.type,
            answer=error.hint or "",
        )

    def _without_secrets(self, reading: TriggerReading) -> TriggerReading:
        return replace(
            reading,
            error=None if reading.error is None else hide(reading.error, self._hidden),
            answer=hide(reading.answer, self._hidden),
        )

    def _note(self, readings: tuple[TriggerReading, ...], now: float, latency: float) -> None:
        there = {reading.metric_name for reading in readings}
        for reading in readings:
            record = self._record(reading, there)
            since, count = record.failing_since, record.failed_in_a_row
            record.note(reading, now, latency)
            if not self._is_kedas:
                continue
            name = (
                f"{self._about} trigger {self.spec.index} ({self.spec.type}), {reading.metric_name}"
            )
            if since is None and reading.error is not None:
                _log.info("%s fails: %s", name, reading.error)
            elif since is not None and reading.error is None:
                told = f"after {count} failed reads in {now - since:.0f} s"
                _log.info("%s answers again, %s", name, told)
                self._on_change("TriggerAnswersAgain", f"{reading.metric_name} {told}")

    def _record(self, reading: TriggerReading, there: set[str]) -> TriggerRecord:
        """Of the metric; the first one of an external trigger takes over the placeholder's."""
        found = self.records.get(reading.metric_name)
        if found is None:
            gone = next((name for name in self.records if name not in there), None)
            found = TriggerRecord(self.spec, reading.metric_name, reading.target)
            if gone is not None:
                found = self.records.pop(gone)
                found.metric_name = reading.metric_name
            self.records[reading.metric_name] = found
        return found


def _failed(readings: tuple[TriggerReading, ...]) -> bool:
    return any(reading.error is not None for reading in readings)


def hidden_texts(secrets: Iterable[str]) -> tuple[str, ...]:
    """What must not be shown: each secret, and as URLs and headers would carry it."""
    found = set()
    for raw in secrets:
        text = raw.strip()
        if len(text) < _SHORTEST:
            continue
        encoded = base64.b64encode(text.encode()).decode()
        found |= {text, quote(text, safe=""), quote_plus(text), encoded}
        found |= {line.strip() for line in text.splitlines() if len(line.strip()) > 8}
    return tuple(sorted(found, key=len, reverse=True))


def hide(text: str, hidden: Iterable[str]) -> str:
    """*text* without the secrets in it."""
    for secret in hidden:
        text = text.replace(secret, HIDDEN)
    return text
