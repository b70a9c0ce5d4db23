"""Reading KServe's documents: services wait for runtimes and configuration that may come later."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from stoker.errors import InputError
from stoker.resources.document import Manifest
from stoker.resources.kserve import (
    llminferenceservice,
    llmtranslation,
    merging,
    names,
    runtimes,
)
from stoker.resources.kserve.autoscaler import render_autoscaler
from stoker.resources.kserve.collector import render_collector
from stoker.resources.kserve.config import CONFIG_MAP, DEFAULT_CONFIG, KServeConfig, read_config
from stoker.resources.kserve.fields import FRAMEWORKS
from stoker.resources.kserve.inferenceservice import API_VERSION, InferenceService
from stoker.resources.kserve.notices import ignored
from stoker.resources.kserve.podtemplate import Component, render_deployment
from stoker.resources.kserve.scaling import Reconciler, render_scaled_object
from stoker.resources.kserve.service import render_service
from stoker.resources.kserve.validation import problems
from stoker.resources.translation import Translation, unknown_field
from stoker.resources.validation import sift

_UNKNOWN: Final = "KServe's CRD does not have it: it is kept or pruned, and nothing reads it"
KINDS: Final = (
    "InferenceService",
    llminferenceservice.KIND,
    llminferenceservice.CONFIG,
    "ClusterStorageContainer",
    *runtimes.KINDS,
)


@dataclass(slots=True)
class KServeReader:
    """Collects KServe's documents, and translates the services in the end.

    ``as_kserve``: ignore what KServe ignores.
    """

    namespace: str
    as_kserve: bool = False
    errors: list[InputError] = field(default_factory=list)
    _services: list[Manifest] = field(default_factory=list)
    _llm_services: list[Manifest] = field(default_factory=list)
    _configs: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    _runtimes: list[runtimes.Runtime] = field(default_factory=list)
    _config: KServeConfig = DEFAULT_CONFIG

    def read(self, manifest: Manifest) -> bool:
        """One document. False: it is none of KServe's."""
        if manifest.kind == "ConfigMap" and manifest.name == CONFIG_MAP:
            try:
                self._config = read_config(manifest)
            except InputError as error:
                self.errors.append(error)
            return True
        if not manifest.api_version.startswith(f"{names.GROUP}/"):
            return False
        if manifest.kind in runtimes.KINDS:
            try:
                self._runtimes.append(runtimes.read_runtime(manifest, self.namespace))
            except InputError as error:
                self.errors.append(error)
            return True
        if manifest.kind == "InferenceService" and manifest.api_version == API_VERSION:
            self._services.append(manifest)
            return True
        if manifest.api_version in llminferenceservice.VERSIONS:
            return self._read_llm(manifest)
        return manifest.kind == "ClusterStorageContainer"  # how models are fetched, not served

    def _read_llm(self, manifest: Manifest) -> bool:
        if manifest.kind == llminferenceservice.KIND:
            self._llm_services.append(manifest)
        elif manifest.kind == llminferenceservice.CONFIG:
            spec = manifest.content.get("spec")
            self._configs[manifest.name] = spec if isinstance(spec, Mapping) else {}
        else:
            return manifest.kind == "ClusterStorageContainer"
        return True

    def translations(self) -> Iterator[Translation]:
        """What KServe's controller makes of each service; what is wrong is in ``errors``."""
        how = Reconciler(self._config, self.as_kserve)
        for manifest in self._services:
            service, errors, unknown = sift(InferenceService, manifest.content, manifest.origin)
            self.errors.extend(errors)
            if service is None:
                continue
            wrong = tuple(problems(service, manifest))
            self.errors.extend(wrong)
            if not wrong:
                yield _telling(self._translation(service, manifest, how), unknown)
        yield from self._llm_translations()

    def _llm_translations(self) -> Iterator[Translation]:
        for manifest in self._llm_services:
            found, errors, unknown = sift(
                llminferenceservice.LLMInferenceService, manifest.content, manifest.origin
            )
            self.errors.extend(errors)
            if found is None:
                continue
            spec: Mapping[str, Any] = {}
            for reference in found.spec.base_refs or ():
                config = self._configs.get(str(reference.get("name")), {})
                spec = merging.merged(spec, config)
            spec = merging.merged(spec, manifest.content["spec"])
            namespace = found.metadata.namespace or self.namespace
            service = llmtranslation.LLMService(found, manifest, namespace, spec)
            wrong = tuple(llmtranslation.problems(service))
            self.errors.extend(wrong)
            if not wrong:
                yield _telling(llmtranslation.translate(service), unknown)

    def _translation(
        self, service: InferenceService, manifest: Manifest, how: Reconciler
    ) -> Translation:
        reason = _not_run(service, how.config)
        if reason:
            return Translation(manifest, skipped=reason)
        namespace = service.metadata.namespace or self.namespace
        predictor = service.spec.predictor
        model = predictor.model or predictor.huggingface
        runtime = None
        if predictor.huggingface is not None and predictor.huggingface.model_format is None:
            runtime = runtimes.BUILT_IN[0]
        elif model is not None:
            runtime = runtimes.choose(model, namespace, self._runtimes)
        component = Component(service, manifest, namespace, runtime)
        scaled_object = autoscaler = None
        if component.autoscaler_class == "keda":
            scaled_object = render_scaled_object(component, how)
        elif component.autoscaler_class == "hpa":
            autoscaler = render_autoscaler(component)
        notices, reason = tuple(ignored(component)), _not_served(component)
        if reason:
            return Translation(
                manifest,
                scaled_object=scaled_object,
                autoscaler=autoscaler,
                ignored=notices,
                skipped=reason,
            )
        deployment = render_deployment(component)
        beside = [render_service(component, deployment)]
        collector = render_collector(component, how.config)
        if collector is not None:
            beside.append(collector)
        return Translation(manifest, deployment, scaled_object, autoscaler, tuple(beside), notices)


def _telling(translation: Translation, unknown: Iterable[InputError]) -> Translation:
    """With the fields that nobody reads."""
    notices = tuple(unknown_field(one, _UNKNOWN, translation.name) for one in unknown)
    return replace(translation, ignored=(*notices, *translation.ignored))


def _not_run(service: InferenceService, config: KServeConfig) -> str:
    """Why nothing is translated, empty if it is."""
    annotations = service.metadata.annotations or {}
    mode = names.MODES[annotations.get(names.DEPLOYMENT_MODE, config.deployment_mode)]
    if mode != "Standard":
        return (
            f"deployment mode {mode} is not run here: annotate it with "
            f'{names.DEPLOYMENT_MODE}: "Standard"'
        )
    if annotations.get(names.STOP, "").lower() == "true":
        return f"it is stopped by the annotation {names.STOP}"
    return ""


def _not_served(component: Component) -> str:
    """Why there is no Deployment although there may be scaling, empty if there is one."""
    written, predictor = component.written, component.predictor
    other = sorted(FRAMEWORKS & set(written))
    if other:
        return f"a predictor of {other[0]} does not serve language models"
    if written.get("workerSpec") is not None:
        return "a predictor over several nodes (workerSpec) is not run here"
    if not (predictor.model or predictor.huggingface or predictor.containers):
        return "its predictor has no model and no container"
    model = component.model
    if not model or component.runtime is not None:
        return ""
    if model.get("runtime"):
        return f"its runtime {model['runtime']} is not in these files"
    model_format = (model.get("modelFormat") or {}).get("name", "")
    return f"no runtime in these files serves the model format {model_format}"
