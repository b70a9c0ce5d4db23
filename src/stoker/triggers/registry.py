"""``triggers[].type``: the name in a file, and the class that reads it."""

from __future__ import annotations

import difflib
from typing import Protocol

from stoker.errors import InputError
from stoker.scaling.spec import TriggerSpec
from stoker.triggers.base import Trigger, TriggerContext
from stoker.triggers.cron import CronTrigger
from stoker.triggers.external import ExternalTrigger
from stoker.triggers.hpa import HpaMetricTrigger
from stoker.triggers.metricsapi import MetricsApiTrigger
from stoker.triggers.opentelemetry import OpenTelemetryTrigger, asks_the_addon
from stoker.triggers.parameters import Parameter
from stoker.triggers.prometheus import PrometheusTrigger
from stoker.triggers.rabbitmq import RabbitMQTrigger
from stoker.triggers.redis import RedisStreamsTrigger, RedisTrigger
from stoker.triggers.resource import ResourceTrigger
from stoker.triggers.workload import WorkloadTrigger


class TriggerType(Protocol):
    """A class of triggers: what it takes, and how one is made. Its docstring says what it reads."""

    PARAMETERS: tuple[Parameter, ...]

    def __call__(self, spec: TriggerSpec, context: TriggerContext, /) -> Trigger:
        """A trigger.

        Raises:
            InputError: the metadata cannot be used.
        """
        ...


SUPPORTED: dict[str, TriggerType] = {
    "cpu": ResourceTrigger,
    "cron": CronTrigger,
    "external": ExternalTrigger,
    "external-push": ExternalTrigger,
    "kubernetes-workload": WorkloadTrigger,
    "memory": ResourceTrigger,
    "metrics-api": MetricsApiTrigger,
    "prometheus": PrometheusTrigger,
    "rabbitmq": RabbitMQTrigger,
    "redis": RedisTrigger,
    "redis-cluster": RedisTrigger,
    "redis-cluster-streams": RedisStreamsTrigger,
    "redis-sentinel": RedisTrigger,
    "redis-sentinel-streams": RedisStreamsTrigger,
    "redis-streams": RedisStreamsTrigger,
}
# what KEDA has and Stoker does not, of the types that people use for model servers
NOT_YET = frozenset({"apache-kafka", "aws-sqs-queue", "kafka", "nats-jetstream", "postgresql"})


def build_trigger(spec: TriggerSpec, context: TriggerContext) -> Trigger:
    """The trigger for one item of ``triggers``.

    Raises:
        InputError: the type is unknown or not supported, or the metadata cannot be used.
    """
    if spec.metric is not None:
        return HpaMetricTrigger(spec, spec.metric, context)
    make = SUPPORTED.get(spec.type)
    if asks_the_addon(spec.type, spec.metadata):
        make = OpenTelemetryTrigger
    if make is not None:
        return make(spec, context)
    supported = ", ".join(sorted(SUPPORTED))
    if spec.type in NOT_YET:
        raise InputError(
            f"trigger type `{spec.type}` is not supported yet", hint=f"supported: {supported}"
        )
    close = difflib.get_close_matches(spec.type.lower(), sorted({*SUPPORTED, *NOT_YET}), n=1)
    near = f"did you mean `{close[0]}`? " if close else ""
    hint = f"{near}supported: {supported}"
    raise InputError(f"no scaler found for type: {spec.type}", hint=hint)
