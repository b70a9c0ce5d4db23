"""What each trigger of a ScaledObject is built from: its secrets and its container's variables."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from stoker.resources import Application, Bundle
from stoker.resources.authentication import Authentication, refuse_elsewhere, resolve
from stoker.resources.environment import resolve_env
from stoker.scaling.spec import ScalingSpec, TriggerSpec
from stoker.triggers.base import TriggerContext

ContextFunction = Callable[[TriggerSpec], TriggerContext]


def authentication_of(
    trigger: TriggerSpec, spec: ScalingSpec, bundle: Bundle
) -> Authentication | None:
    """What ``authenticationRef`` names. None: nothing, or nothing that these files have."""
    if trigger.authentication_ref is None:
        return None
    cluster = trigger.authentication_kind == "ClusterTriggerAuthentication"
    wanted = (trigger.authentication_kind, trigger.authentication_ref)
    space = "" if cluster else spec.namespace
    for one in bundle.authentications:
        if (one.kind, one.name) == wanted and one.namespace == space:
            return one
    return None


def contexts(
    context: TriggerContext, spec: ScalingSpec, application: Application | None, bundle: Bundle
) -> ContextFunction:
    """How the context of a trigger is made; variables and files are read at each call.

    Without an *application* there are the variables of this process alone.
    """
    env_of = _environment(application, bundle)
    container = _env_source(application)

    def context_for(trigger: TriggerSpec) -> TriggerContext:
        """Raises InputError where a secret cannot be had on one machine."""
        auth: Mapping[str, str] = {}
        found = authentication_of(trigger, spec, bundle)
        if found is not None:
            refuse_elsewhere(found)
            auth, _ = resolve(found, bundle.sources, env_of)
        return replace(
            context,
            auth=auth,
            env=env_of(container),
            name=spec.name,
            namespace=spec.namespace,
            in_formula=spec.modifiers is not None,
        )

    return context_for


def credential_notices(spec: ScalingSpec, application: Application, bundle: Bundle) -> list[str]:
    """What a trigger refers to and these files do not have; KEDA goes on without it."""
    told: list[str] = []
    env_of = _environment(application, bundle)
    for trigger in spec.triggers:
        found = authentication_of(trigger, spec, bundle)
        if found is not None:
            told += resolve(found, bundle.sources, env_of)[1]
        elif trigger.authentication_ref is not None:
            told.append(
                f"trigger {trigger.index} ({trigger.type}) of {spec.name} refers to "
                f"{trigger.authentication_kind} {trigger.authentication_ref}, which is not in "
                "these files: it asks without credentials, as KEDA does"
            )
    return told


def _environment(
    application: Application | None, bundle: Bundle
) -> Callable[[str | None], Mapping[str, str]]:
    """The variables of a container of the target, over those that Stoker itself runs with.

    The latter are for what no file has: a Secret that only the cluster knows.
    """
    if application is None:
        return lambda _: os.environ
    workload = application.workload
    containers = _containers(application)

    def env_of(name: str | None) -> Mapping[str, str]:
        chosen = next((one for one in containers if name is None or one.get("name") == name), None)
        if chosen is None or chosen.get("name") == workload.container:
            own = workload.env
        else:
            own = resolve_env(
                chosen.get("env") or (),
                chosen.get("envFrom") or (),
                bundle.sources,
                workload.namespace,
            )
        return {**os.environ, **own}

    return env_of


def _containers(application: Application) -> list[Mapping[str, Any]]:
    spec: object = application.deployment.content
    for key in ("spec", "template", "spec", "containers"):
        spec = spec.get(key) if isinstance(spec, Mapping) else None
    return [one for one in spec if isinstance(one, Mapping)] if isinstance(spec, list) else []


def _env_source(application: Application | None) -> str | None:
    """``envSourceContainerName``. None: the first container."""
    manifest = application.scaled_object if application is not None else None
    spec = manifest.content.get("spec") if manifest is not None else None
    target = spec.get("scaleTargetRef") if isinstance(spec, Mapping) else None
    name = target.get("envSourceContainerName") if isinstance(target, Mapping) else None
    return str(name) if name else None
