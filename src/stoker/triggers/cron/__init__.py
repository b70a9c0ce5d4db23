"""``type: cron``: so many replicas between two moments of the week.

The trigger is active from a start to the next end, which is when the next end comes before the next
start. Its value is then ``desiredReplicas``, else 0, against a target of 1.

*Source*: ``pkg/scalers/cron_scaler.go`` of KEDA 2.20.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from stoker.clock import rfc3339
from stoker.errors import InputError
from stoker.scaling.observation import TriggerReading
from stoker.scaling.spec import TriggerSpec
from stoker.triggers.base import TriggerContext, metric_name, unread
from stoker.triggers.cron.schedule import NEVER, Schedule, location
from stoker.triggers.parameters import Parameter, Parameters, parameter

__all__ = ["CronParameters", "CronTrigger", "Schedule", "location"]

_NAMED = str.maketrans({" ": "", "*": "x", "/": "Sl", "?": "Qm", ",": "Cm"})


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
        given = Parameters(CronTrigger.PARAMETERS, spec.metadata)
        timezone, start, end = given.text("timezone"), given.text("start"), given.text("end")
        desired = given.whole("desiredReplicas")
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
        """KEDA's, without the index and before `-` takes the place of what a name cannot have."""
        times = f"{self.start.translate(_NAMED)}-{self.end.translate(_NAMED)}"
        return f"cron-{self.timezone}-{times}"


def _schedule(name: str, text: str) -> Schedule:
    try:
        return Schedule.parse(text)
    except InputError as error:
        raise InputError(f"error parsing {name} schedule: {error.message}") from None


class CronTrigger:
    """So many replicas between two moments of the week."""

    PARAMETERS: ClassVar[tuple[Parameter, ...]] = (
        parameter("timezone", "of the IANA database, such as Europe/Berlin", required=True),
        parameter("start", "when it becomes active: a cron expression of 5 fields", required=True),
        parameter("end", "when it ceases to be: another one", required=True),
        parameter(
            "desiredReplicas",
            "the value while it is active; the target is 1",
            "int64",
            required=True,
        ),
    )

    def __init__(self, spec: TriggerSpec, context: TriggerContext) -> None:  # noqa: ARG002
        self.spec = spec
        self.parameters = CronParameters.parse(spec)

    @property
    def metric_name(self) -> str:
        """KEDA's name of the metric: s0-cron-Europe-Berlin-08xx1-5-018xx1-5."""
        return metric_name(self.spec, self.parameters.metric_name)

    @property
    def target(self) -> float:
        """One replica for each that is desired."""
        return 1.0

    async def read(self, now: float) -> TriggerReading:
        """``desiredReplicas`` or 0; an unknown time zone is an error of the read."""
        parameters = self.parameters
        source = f"{parameters.start} to {parameters.end} ({parameters.timezone})"
        reading = unread(self.spec, self.metric_name, self.target, source)
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
