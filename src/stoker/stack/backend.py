"""What the control API shows of a run, and what it may change."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from stoker.api import objects, triggers, workloads
from stoker.api.changes import Changes
from stoker.api.control import serve_control
from stoker.api.customresources import custom_resource
from stoker.api.discovery import Discovery, write_discovery
from stoker.api.kinds import (
    CLUSTER_TRIGGER_AUTHENTICATION,
    DEPLOYMENT,
    EVENT,
    HPA,
    POD,
    SCALED_OBJECT,
    TRIGGER,
    TRIGGER_AUTHENTICATION,
    Kind,
    ServerError,
)
from stoker.api.views import Overview
from stoker.errors import NotFoundError
from stoker.stack.applications import RunningApplication
from stoker.stack.credentials import authentication_of
from stoker.stack.overview import event_lines, model_overview
from stoker.stack.stack import Stack
from stoker.stack.views import deployment_view, hpa_view, scaled_object_view
from stoker.tick import Tick

JsonObject = dict[str, Any]


class RunBackend:
    """A run as the control API sees it."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack

    @property
    def changes(self) -> Changes:
        """Notified whenever an object may look different."""
        return self._stack.changes

    def objects(self, kind: Kind) -> list[JsonObject]:
        """All objects of *kind* in Kubernetes form."""
        listings: dict[Kind, Callable[[], list[JsonObject]]] = {
            SCALED_OBJECT: self._scaled_objects,
            HPA: self._hpas,
            DEPLOYMENT: self._deployments,
            POD: self._pods,
            EVENT: lambda: [workloads.event(event) for event in self._stack.events],
            TRIGGER: self._triggers,
            TRIGGER_AUTHENTICATION: lambda: self._authentications(kind),
            CLUSTER_TRIGGER_AUTHENTICATION: lambda: self._authentications(kind),
        }
        return listings[kind]() if kind in listings else self._custom_resources(kind)

    def ticks(self, name: str) -> list[Tick]:
        """The last ticks of a ScaledObject or of an HPA, the newest last."""
        scaled = self._stack.find(name)
        if scaled is None:
            raise SCALED_OBJECT.not_found(name)
        return list(scaled.ticks)

    def overview(self) -> Overview:
        """The state of the whole run."""
        stack = self._stack
        now = stack.clock.now()
        models = [model_overview(a, stack.storage, stack.gateway, now) for a in stack.applications]
        return Overview(
            time=now,
            started_at=stack.started_at,
            namespace=stack.options.namespace,
            engine=stack.engine.name,
            gateway_url=stack.gateway.url,
            prometheus_url=stack.prometheus_url,
            gpus_used=sum(model["gpus"] for model in models),
            gpus_total=stack.gpus,
            models=models,
            events=event_lines(list(stack.events)),
        )

    def logs(
        self, pod: str, *, follow: bool, tail: int | None, previous: bool
    ) -> AsyncIterator[bytes]:
        """The output of a replica."""
        for application in self._stack.applications:
            if any(one.name == pod for one in application.deployment.pods()):
                return self._stack.node.logs(pod, follow=follow, tail=tail, previous=previous)
        raise POD.not_found(pod)

    async def scale(self, kind: Kind, name: str, replicas: int) -> JsonObject:
        """Set the replicas of a Deployment, as `kubectl scale` does; an HPA may set them back."""
        if kind is not DEPLOYMENT:
            raise ServerError(
                f"{kind.resource} cannot be scaled", hint=f"stoker scale deployment/{name} ..."
            )
        application = self._deployment(name)
        await application.deployment.scale(replicas)
        self.changes.notify()
        return workloads.deployment(deployment_view(application))

    async def annotate(
        self, kind: Kind, name: str, annotations: Mapping[str, str | None]
    ) -> JsonObject:
        """Set annotations of a ScaledObject, or remove those that are None."""
        scaled = self._stack.find(name) if kind is SCALED_OBJECT else None
        if scaled is None or scaled.controller.spec.is_hpa:
            raise kind.not_found(name)
        await self._stack.annotate(scaled, dict(annotations))
        return objects.scaled_object(scaled_object_view(scaled))

    def _scaled_objects(self) -> list[JsonObject]:
        scaled = [one for one in self._stack.autoscalings if not one.controller.spec.is_hpa]
        return [objects.scaled_object(scaled_object_view(one)) for one in scaled]

    def _hpas(self) -> list[JsonObject]:
        views = [hpa_view(one) for one in self._stack.autoscalings]
        return [objects.horizontal_pod_autoscaler(view) for view in views if view]

    def _deployments(self) -> list[JsonObject]:
        return [workloads.deployment(deployment_view(a)) for a in self._stack.applications]

    def _pods(self) -> list[JsonObject]:
        return [
            workloads.pod(pod, a.workload)
            for a in self._stack.applications
            for pod in a.deployment.pods()
        ]

    def _custom_resources(self, kind: Kind) -> list[JsonObject]:
        url = self._stack.gateway.url
        return [
            custom_resource(a.source, deployment_view(a), url)
            for a in self._stack.applications
            if a.source is not None and a.source["kind"] == kind.kind
        ]

    def _triggers(self) -> list[JsonObject]:
        return [
            triggers.trigger(record, one.controller.spec, one.controller.state.created_at)
            for one in self._stack.autoscalings
            for polled in one.triggers
            for record in polled.records.values()
        ]

    def _authentications(self, kind: Kind) -> list[JsonObject]:
        """With the ScaledObjects that refer to each."""
        stack = self._stack
        found = []
        for one in stack.bundle.authentications:
            if one.kind != kind.kind:
                continue
            users = {
                scaled.name
                for scaled in stack.autoscalings
                for trigger in scaled.controller.spec.triggers
                if authentication_of(trigger, scaled.controller.spec, stack.bundle) is one
            }
            namespace = stack.options.namespace
            found.append(triggers.authentication(one, stack.started_at, users, namespace))
        return found

    def _deployment(self, name: str) -> RunningApplication:
        for application in self._stack.applications:
            if application.workload.name == name:
                return application
        raise NotFoundError(f"no Deployment {name}")


async def publish(stack: Stack) -> None:
    """Let `stoker get` and the others find *stack*, until it stops."""
    token = secrets.token_urlsafe(24)
    control = await serve_control(RunBackend(stack), token)
    stack.on_stop(control.close)
    options = stack.options
    write_discovery(
        options.state_dir, Discovery(control.url, token, os.getpid(), options.namespace)
    )
