"""``type: cron``: so many replicas between two moments of the week.

The trigger is active from a start to the next end, which is when the next end comes before the next
start. Its value is then ``desiredReplicas``, else 0, against a target of 1.

*Source*: ``pkg/scalers/cron_scaler.go`` of KEDA 2.20.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from stoker.clock import rfc3339
from stoker.errors import InputError
from stoker.scaling.observation import TriggerReading
from stoker.scaling.spec import TriggerSpec
from stoker.triggers.base import Parameters, TriggerContext
from stoker.triggers.cron.schedule import NEVER, Schedule, location

__all__ = ["CronParameters", "CronTrigger", "Schedule", "location"]

_NAMED = str.maketrans({" ": "", "*": "x", "/": "Sl", "?": "Qm", ",": "Cm"})
_NORMALISED = re.compile(r"[/.:%()]")  # what KEDA writes as `-` in any metric name


@dataclass(frozen=True, slots=True)
class CronParameters:
    """The trigger's ``metadata``."""

    timezone: str
    start: str
    end: str
    desired_replicas: int
    start_schedule: Schedule
    end_schedule: Schedule

    @classmethod
    def parse(cls, spec: TriggerSpec) -> CronParameters:
        """Read and check the metadata. The time zone is looked up at every read, as KEDA does.

        Raises:
            InputError: KEDA could not build the trigger.
        """
        given = Parameters(spec.metadata)
        timezone, start, end = given.text("timezone"), given.text("start"), given.text("end")
        desired = _whole(given, "desiredReplicas")
        try:
            schedules = _schedule("start", start), _schedule("end", end)
            if start == end:
                raise InputError("start and end can not have exactly same time input")
            if desired == 0:
                raise InputError("no desiredReplicas specified")
        except InputError as error:
            # KEDA tells what is missing, and of the rest the first
            given.refuse(error.message)
            given.finish("cron")
            raise
        given.finish("cron")
        return cls(timezone, start, end, desired, *schedules)

    @property
    def metric_name(self) -> str:
        """KEDA's, without the index."""
        times = f"{self.start.translate(_NAMED)}-{self.end.translate(_NAMED)}"
        return _NORMALISED.sub("-", f"cron-{self.timezone}-{times}")


def _whole(given: Parameters, name: str) -> int:
    text = given.text(name)
    if text and not re.fullmatch(r"-?(0|[1-9]\d*)", text):
        cause = f"json: cannot unmarshal number {text} into Go value of type int64"
        given.refuse(f"unable to unmarshal to field type int64: {cause}", name, text)
        return 0
    return int(text or 0)


def _schedule(name: str, text: str) -> Schedule:
    try:
        return Schedule.parse(text)
    except InputError as error:
        raise InputError(f"error parsing {name} schedule: {error.message}") from None


class CronTrigger:
    """One cron trigger."""

    def __init__(self, spec: TriggerSpec, context: TriggerContext) -> None:  # noqa: ARG002
        self.spec = spec
        self.parameters = CronParameters.parse(spec)

    @property
    def metric_name(self) -> str:
        """KEDA's name of the metric: s0-cron-Europe-Berlin-08xx1-5-018xx1-5."""
        return f"s{self.spec.index}-{self.parameters.metric_name}"

    @property
    def target(self) -> float:
        """One replica for each that is desired."""
        return 1.0

    async def read(self, now: float) -> TriggerReading:
        """``desiredReplicas`` or 0; an unknown time zone is an error of the read."""
        parameters = self.parameters
        reading = TriggerReading(
            index=self.spec.index,
            metric_name=self.metric_name,
            value=None,
            target=self.target,
            metric_type=self.spec.metric_type,
            trigger_name=self.spec.name,
            type=self.spec.type,
            source=f"{parameters.start} to {parameters.end} ({parameters.timezone})",
        )
        try:
            zone = location(parameters.timezone)
        except InputError as error:
            problem = f"unable to load timezone. Error: {error.message}"
            return replace(reading, error=problem, answer=error.hint or "")
        starts = parameters.start_schedule.next(now, zone)
        ends = parameters.end_schedule.next(now, zone)
        active = ends <= starts
        until = ends if active else starts
        word = "active" if active else "not active"
        when = "for ever" if until == NEVER else f"until {rfc3339(until)}"
        return replace(
            reading,
            value=float(parameters.desired_replicas) if active else 0.0,
            active=active,
            answer=f"{word} {when}",
        )

    async def close(self) -> None:
        """Nothing is held."""
