"""Reading Helm values: every model on its own, so that all that is wrong is told at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from stoker.errors import InputError, Place
from stoker.resources import chart, helmvalues
from stoker.resources.chartcontainer import EngineRelease
from stoker.resources.chartservices import render_of_release, render_service
from stoker.resources.document import Document, Manifest, Origin, Path
from stoker.resources.environment import Sources
from stoker.resources.scaledobject import read_scaled_object
from stoker.resources.translation import Ignored, unknown_field
from stoker.resources.validation import sift

_IGNORED = "No template of the chart reads it, and Helm takes any name"
_REQUIRED = {
    "requestCPU": "the chart refuses a model without it; a number of CPUs, such as 8",
    "requestMemory": "the chart refuses a model without it; a size, such as 64Gi",
}


@dataclass(frozen=True, slots=True)
class Rendered:
    """What the chart makes of one model."""

    deployment: Manifest
    scaled_object: Manifest | None
    sources: Sources


@dataclass(slots=True)
class ChartReader:
    """Reads the values of one release, which may be spread over several documents."""

    release: str
    namespace: str
    errors: list[InputError] = field(default_factory=list)
    ignored: list[Ignored] = field(default_factory=list)
    rendered: list[Rendered] = field(default_factory=list)
    others: list[Manifest] = field(default_factory=list)  # Services and what they share
    not_rendered: list[tuple[str, str, Place]] = field(default_factory=list)  # model, why, where
    deployments: set[str] = field(default_factory=set)  # names, those of faulty models too
    _models: dict[str, Place] = field(default_factory=dict)

    def read(self, document: Document) -> None:
        """The values in *document*."""
        origin = Origin(document)
        written = helmvalues.with_defaults(document.value, helmvalues.DEFAULTS)
        values, errors, unknown = sift(helmvalues.Values, written, origin)
        self.errors.extend(errors)
        self.ignored.extend(unknown_field(one, _IGNORED, "Helm values") for one in unknown)
        engine = values.serving_engine_spec if values else helmvalues.ServingEngineSpec()
        engine_written = written.get("servingEngineSpec")
        if not isinstance(engine_written, dict):
            return
        models = engine_written.get("modelSpec")
        releases: list[EngineRelease] = []
        for index, raw in enumerate(models if isinstance(models, list) else ()):
            path: Path = (*chart.MODELS, index)
            model, errors, unknown = sift(helmvalues.ModelSpec, raw, origin, path)
            self.errors.extend(errors)
            if not isinstance(raw, dict):
                continue
            about = f"model {raw.get('name', index)}"
            self.ignored.extend(unknown_field(one, _IGNORED, about) for one in unknown)
            missing = _missing(raw, origin, path)
            self.errors.extend(missing)
            self._name(raw.get("name"), document.place((*path, "name")))
            if model is None or missing:
                self._keda_of_faulty_model(raw, engine, index, document)
                continue
            release = EngineRelease(
                self.release, self.namespace, engine, model, index, raw, engine_written
            )
            if self._render(release, document):
                releases.append(release)
        if releases:
            self.others.extend(render_of_release(releases, document))

    def _name(self, name: object, place: Place) -> None:
        """Names of models become names of Deployments, so they must differ in a release."""
        if name is None:
            return
        first = self._models.setdefault(str(name), place)
        self.deployments.add(chart.deployment_name(self.release, str(name)))
        if first != place:
            message = f"two models have the name `{name}`"
            self.errors.append(InputError(message, hint=f"the other is at {first}", place=place))

    def _render(self, release: EngineRelease, document: Document) -> bool:
        """Whether the chart makes a Deployment of the model."""
        reason = _not_rendered(release)
        if reason:
            place = document.place((*chart.MODELS, release.index, "name"))
            self.not_rendered.append((release.model.name, reason, place))
            return False
        deployment = chart.render_deployment(release, document)
        scaled_object = chart.render_scaled_object(release, document)
        self.rendered.append(Rendered(deployment, scaled_object, chart.chart_sources(release)))
        self.others.append(render_service(release, document))
        return True

    def _keda_of_faulty_model(
        self,
        raw: dict[str, Any],
        engine: helmvalues.ServingEngineSpec,
        index: int,
        document: Document,
    ) -> None:
        """What is wrong with the scaling of a model whose other values are wrong, too."""
        stand_in = {"name": "x", "repository": "x", "tag": "x", "modelURL": "x"}
        stand_in |= {key: raw[key] for key in ("keda", "raySpec") if key in raw}
        model, _, _ = sift(helmvalues.ModelSpec, stand_in, Origin(document))
        if model is None:
            return
        release = EngineRelease(self.release, self.namespace, engine, model, index, stand_in, {})
        scaled_object = chart.render_scaled_object(release, document)
        if scaled_object is not None:
            self.errors.extend(read_scaled_object(scaled_object, self.namespace)[1])


def _missing(raw: dict[str, Any], origin: Origin, path: Path) -> list[InputError]:
    """What the chart's template demands of a model that it renders."""
    ray = raw.get("raySpec")
    is_ray = isinstance(ray, dict) and ray.get("enabled") is True
    if raw.get("resources") or raw.get("enabled") is False or is_ray:
        return []
    return [
        InputError(
            f"`{origin.name((*path, key))}` is required", hint=hint, place=origin.place(path)
        )
        for key, hint in _REQUIRED.items()
        if raw.get(key) is None
    ]


def _not_rendered(release: EngineRelease) -> str | None:
    """Why the chart makes no Deployment of a model, None if it does."""
    model = release.model
    if not release.engine.enable_engine:
        return "servingEngineSpec.enableEngine is false"
    if not model.enabled:
        has_ray = "ray_spec" in model.model_fields_set
        orphan = model.keda is not None and model.keda.enabled and not has_ray
        more = "; the chart still makes its ScaledObject, which then has no target"
        return "enabled is false" + (more if orphan else "")
    if model.ray_spec is not None and model.ray_spec.enabled:
        return "raySpec is enabled: a Ray cluster is not run here"
    return None
