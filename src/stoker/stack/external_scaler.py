"""From files to what `stoker scaler` serves."""

from __future__ import annotations

from stoker.errors import InputError, InputErrors
from stoker.resources import Application, Bundle
from stoker.resources.document import Manifest
from stoker.scaler.sampling import Sampler
from stoker.scaling.spec import RESOURCE_TRIGGERS, ScalingSpec
from stoker.stack.credentials import contexts
from stoker.triggers.base import TriggerContext
from stoker.triggers.connections import Pool
from stoker.triggers.polling import PolledTrigger


def samplers_of(bundle: Bundle, *, timeout: float, max_age: float, pool: Pool) -> list[Sampler]:
    """One for each ScaledObject. Raises InputErrors, each with the place of its trigger."""
    samplers: list[Sampler] = []
    errors: list[InputError] = []
    for spec, manifest, application in _scaled(bundle):
        # a scaler runs where Services have names: every address is asked over the network
        context = TriggerContext(lambda _: None, timeout=timeout, pool=pool)
        context_for = contexts(context, spec, application, bundle)
        triggers = []
        for trigger in spec.triggers:
            try:
                if trigger.type in RESOURCE_TRIGGERS:
                    raise InputError(
                        f"a trigger of type {trigger.type} cannot be served",
                        hint="the HPA reads it itself: write it into KEDA's ScaledObject",
                    )
                triggers.append(PolledTrigger(trigger, context_for, about=spec.name))
            except InputError as error:
                place = manifest.place("spec", "triggers", trigger.index)
                errors.append(InputError(error.message, hint=error.hint, place=place))
        if len(triggers) == len(spec.triggers):
            samplers.append(Sampler(spec, triggers, max_age=max_age))
    if errors:
        raise InputErrors(errors)
    if not samplers:
        raise InputError(
            "no ScaledObject in these files",
            hint="its triggers are what `stoker scaler` serves",
        )
    return samplers


def _scaled(bundle: Bundle) -> list[tuple[ScalingSpec, Manifest, Application | None]]:
    found: list[tuple[ScalingSpec, Manifest, Application | None]] = [
        (one.scaling, one.scaled_object, one)
        for one in bundle.applications
        if one.scaling is not None and one.scaled_object is not None
    ]
    return [*found, *((one.scaling, one.manifest, None) for one in bundle.unattached)]
