"""``triggers[].type``: the name in a file, and the class that reads it."""

from __future__ import annotations

import difflib
from collections.abc import Callable

from stoker.errors import InputError
from stoker.scaling.spec import TriggerSpec
from stoker.triggers.base import Trigger, TriggerContext
from stoker.triggers.cron import CronTrigger
from stoker.triggers.prometheus import PrometheusTrigger
from stoker.triggers.resource import ResourceTrigger

SUPPORTED: dict[str, Callable[[TriggerSpec, TriggerContext], Trigger]] = {
    "cpu": ResourceTrigger,
    "cron": CronTrigger,
    "memory": ResourceTrigger,
    "prometheus": PrometheusTrigger,
}
# what KEDA has and Stoker does not, of the types that people use for model servers
NOT_YET = frozenset(
    {
        "apache-kafka",
        "aws-sqs-queue",
        "external",
        "external-push",
        "kafka",
        "kubernetes-workload",
        "metrics-api",
        "nats-jetstream",
        "postgresql",
        "rabbitmq",
        "redis",
        "redis-cluster",
        "redis-cluster-streams",
        "redis-sentinel",
        "redis-sentinel-streams",
        "redis-streams",
    }
)


def build_trigger(spec: TriggerSpec, context: TriggerContext) -> Trigger:
    """The trigger for one item of ``triggers``.

    Raises:
        InputError: the type is unknown or not supported, or the metadata cannot be used.
    """
    make = SUPPORTED.get(spec.type)
    if make is not None:
        return make(spec, context)
    supported = ", ".join(sorted(SUPPORTED))
    if spec.type in NOT_YET:
        raise InputError(
            f"trigger type `{spec.type}` is not supported yet", hint=f"supported: {supported}"
        )
    close = difflib.get_close_matches(spec.type.lower(), sorted({*SUPPORTED, *NOT_YET}), n=1)
    hint = f"did you mean `{close[0]}`?" if close else f"supported: {supported}"
    raise InputError(f"no scaler found for type: {spec.type}", hint=hint)
