"""Sorting the documents by kind, and joining the objects that refer to each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from stoker.errors import InputError, Place
from stoker.metrics.monitors import ServiceFacts
from stoker.resources import helmvalues, horizontaljoining
from stoker.resources.authentication import AUTHENTICATIONS, Authentication, read_authentication
from stoker.resources.bystanders import BYSTANDERS, read_bystander
from stoker.resources.charts import ChartReader
from stoker.resources.contents import (
    Application,
    Bundle,
    Skipped,
    Unattached,
    target_name,
    workload_name,
)
from stoker.resources.customresources import KINDS as CUSTOM_KINDS
from stoker.resources.customresources import CustomResources
from stoker.resources.document import Document, Manifest, Origin
from stoker.resources.environment import Sources, source_values
from stoker.resources.kubernetes import UnknownModelError, read_deployment
from stoker.resources.monitoring import (
    MONITORS,
    PlacedMonitor,
    read_placed_monitor,
    read_service,
)
from stoker.resources.scaledobject import read_scaled_object
from stoker.resources.translation import Ignored, Translation, unknown_field
from stoker.resources.validation import did_you_mean
from stoker.scaling.spec import ScalingSpec

_READ = (
    "Deployment", "StatefulSet", "ScaledObject", "HorizontalPodAutoscaler", "Secret", "ConfigMap",
    "Service",
    *MONITORS, *CUSTOM_KINDS, *AUTHENTICATIONS, *BYSTANDERS,
)  # fmt: skip


_COLLECTOR = "OpenTelemetryCollector"  # read where pushes are: stoker.stack.pushes
_POD_TEMPLATE = "It is no field of a pod: the API server drops it, or refuses it under --validate"


@dataclass(frozen=True, slots=True)
class Options:
    """How files are read: see :func:`stoker.resources.bundle.load`."""

    release: str
    namespace: str
    kubernetes_version: str
    as_kserve: bool


class Reader:
    """Collects what the documents say; objects refer to each other, so they are joined last."""

    def __init__(self, options: Options) -> None:
        self.errors: list[InputError] = []
        self.missing: list[InputError] = []  # what would be needed to run, though not to look
        self.applications: list[Application] = []
        self.unattached: list[Unattached] = []
        self.objects: list[Manifest] = []
        self.skipped: list[Skipped] = []
        self.monitors: list[PlacedMonitor] = []
        self.services: list[ServiceFacts] = []
        self.authentications: list[Authentication] = []
        self._namespace = options.namespace
        self.ignored: list[Ignored] = []
        self.translated: list[Manifest] = []
        self._charts = ChartReader(options.release, options.namespace)
        self._custom = CustomResources(options.namespace, as_kserve=options.as_kserve)
        self._sources: dict[tuple[str, str], dict[str, str]] = {}
        self._deployments: list[Manifest] = []
        self._scaled_objects: list[Manifest] = []
        self._horizontal: list[Manifest] = []
        self._kubernetes_version = options.kubernetes_version
        self._names: set[str] = set()

    def bundle(self, documents: Sequence[Document]) -> Bundle:
        """What was collected."""
        return Bundle(
            tuple(self.applications),
            tuple(self.skipped),
            tuple(documents),
            tuple(self.monitors),
            tuple(self.services),
            tuple(self.unattached),
            tuple(self.objects),
            tuple(sorted(self.ignored, key=lambda one: position(one.place))),
            tuple(self.authentications),
            self._sources,
            tuple(self.translated),
        )

    def read(self, document: Document) -> None:
        """One document. Lists of kind ``List`` are opened."""
        content = document.value
        if "kind" not in content and "apiVersion" not in content:
            if self._looks_like_values(document):
                self._charts.read(document)
        elif content.get("kind") == "List" and isinstance(content.get("items"), list):
            for index, item in enumerate(content["items"]):
                if isinstance(item, dict):
                    self._sort(Manifest(item, _inside(document, index)))
        else:
            self._sort(Manifest(content, Origin(document)))

    def _sort(self, manifest: Manifest) -> None:
        kind = manifest.kind
        self.objects.append(manifest)
        if self._custom.read(manifest) or kind == _COLLECTOR:
            return
        joined_last = {
            "Deployment": self._deployments,
            "StatefulSet": self._deployments,
            "ScaledObject": self._scaled_objects,
            "HorizontalPodAutoscaler": self._horizontal,
        }
        if kind in joined_last:
            joined_last[kind].append(manifest)
        elif kind in {"Secret", "ConfigMap"}:
            self._sources[kind, manifest.name] = source_values(manifest.content)
        elif kind == "Service" or kind in MONITORS:
            self._scraped(manifest)
        elif kind in AUTHENTICATIONS:
            self._authentication(manifest)
        elif kind in BYSTANDERS:
            reason, errors = read_bystander(manifest)
            self.errors.extend(errors)
            self.skipped.append(Skipped(f"{kind} {manifest.name}", reason, manifest.place()))
        elif not kind:
            self._no_kind(manifest)
        elif kind not in CUSTOM_KINDS and kind.lower() in {known.lower() for known in _READ}:
            hint = did_you_mean(kind, _READ)
            self._error(f"unknown kind `{kind}`", manifest.place("kind"), hint)
        else:
            what = f"{kind} {manifest.name}".strip()
            version = f"{manifest.api_version} of " if kind in CUSTOM_KINDS else ""
            reason = f"{version or 'kind '}{kind} is not read"
            self.skipped.append(Skipped(what, reason, manifest.place()))

    def _authentication(self, manifest: Manifest) -> None:
        found, errors = read_authentication(manifest, self._namespace)
        self.errors.extend(errors)
        if found is not None:
            self.authentications.append(found)

    def _scraped(self, manifest: Manifest) -> None:
        try:
            if manifest.kind in MONITORS:
                self.monitors.append(read_placed_monitor(manifest, self._namespace))
            else:
                self.services.append(read_service(manifest, self._namespace))
        except InputError as error:
            self.errors.append(error)

    def _no_kind(self, manifest: Manifest) -> None:
        is_chart = manifest.api_version in {"v1", "v2"}
        if is_chart and {"name", "version"} <= manifest.content.keys():  # a Chart.yaml
            self._foreign("a description of a Helm chart", manifest.place())
        else:
            self._error("`kind` is required", manifest.place())

    def _looks_like_values(self, document: Document) -> bool:
        if helmvalues.looks_like_values(document.value):
            return True
        known = ("kind", "apiVersion", "servingEngineSpec", "routerSpec")
        hint = next((hint for key in document.value if (hint := did_you_mean(key, known))), None)
        message = (
            "neither a Kubernetes object (no `kind`) nor production-stack values "
            "(no `servingEngineSpec`)"
        )
        if hint is not None:
            self._error(message, document.place(), hint)
        else:
            self._foreign(message, document.place())
        return False

    def _foreign(self, message: str, place: Place) -> None:
        """A document of others, such as a kustomization: nothing to run, and nothing wrong."""
        self.missing.append(InputError(message, place=place))
        self.skipped.append(Skipped("", message, place))

    def _error(self, message: str, place: Place, hint: str | None = None) -> None:
        self.errors.append(InputError(message, hint=hint, place=place))

    def _join(
        self,
        deployment: Manifest,
        scaled_object: Manifest | None,
        sources: Sources,
        *,
        from_chart: bool = False,
        translation: Translation | None = None,
    ) -> None:
        """Read a Deployment and what scales it, and keep them or what is wrong with them."""
        unknown: list[InputError] | None = None if translation is None else []
        workload, errors = read_deployment(deployment, self._namespace, sources, unknown)
        if translation is not None:
            notices = (unknown_field(one, _POD_TEMPLATE, translation.name) for one in unknown or ())
            self.ignored.extend(notices)
        scaling: ScalingSpec | None = None
        if scaled_object is not None:
            scaling, more = read_scaled_object(scaled_object, self._namespace)
            places = {error.place for error in errors}
            errors += tuple(error for error in more if error.place not in places)
        for error in errors:
            only_to_run = isinstance(error, UnknownModelError)
            (self.missing if only_to_run else self.errors).append(error)
            if only_to_run:
                what = f"{deployment.kind} {deployment.name}"
                self.skipped.append(Skipped(what, error.message, deployment.place()))
        if errors:
            if scaled_object is not None and scaling is not None:
                self.unattached.append(Unattached(scaling, scaled_object, deployment))
            return
        if workload is None:
            what = f"{deployment.kind} {deployment.name}"
            self.skipped.append(Skipped(what, "no container runs vLLM", deployment.place()))
            if scaled_object is not None and scaling is not None:
                self.unattached.append(Unattached(scaling, scaled_object, deployment))
                reason, place = f"it scales {what}, which is not run", scaled_object.place()
                self.skipped.append(Skipped(f"ScaledObject {scaled_object.name}", reason, place))
            return
        if workload.replicas is None and scaled_object is None:
            workload = replace(workload, replicas=1)  # the API server's default
        origin = deployment.place()
        self.applications.append(
            Application(
                workload, scaling, origin, deployment, scaled_object, from_chart, translation
            )
        )

    def _translated(self, one: Translation) -> None:
        """What the controller of a custom resource makes of it."""
        self.ignored.extend(one.ignored)
        if one.deployment is not None:
            self.objects.extend(one.objects)
            self.translated.append(one.source)
            if one.autoscaler is not None:
                self._horizontal.append(one.autoscaler)
            self._join(one.deployment, one.scaled_object, self._sources, translation=one)
            return
        self.skipped.append(Skipped(one.name, one.skipped, one.source.place()))
        if one.scaled_object is not None:
            scaling, errors = read_scaled_object(one.scaled_object, self._namespace)
            self.errors.extend(errors)
            if scaling is not None:
                self.unattached.append(Unattached(scaling, one.scaled_object))

    def finish(self) -> None:
        """Join Deployments with their ScaledObjects, and check what only shows together."""
        self._finish_charts()
        for translation in self._custom.translations():
            self._translated(translation)
        self.errors.extend(self._custom.errors)
        targets = self._targets()
        names: dict[str, Manifest] = {}
        self._names = {workload_name(deployment) for deployment in self._deployments}
        for deployment in self._deployments:
            name = workload_name(deployment)
            if name in names:
                message = f"two {deployment.kind}s have the name `{deployment.name}`"
                place = deployment.place("metadata", "name")
                self._error(message, place, f"the other is at {names[name].place()}")
                continue
            names[name] = deployment
            scaled_object_of = targets.pop(name, None)
            self._join(deployment, scaled_object_of, self._sources)
        for scaled_object in targets.values():
            self._attach(scaled_object)
        self._attach_horizontal()

    def _finish_charts(self) -> None:
        """Everything that the chart makes of values."""
        self.errors.extend(self._charts.errors)
        self.ignored.extend(self._charts.ignored)
        for model, reason, place in self._charts.not_rendered:
            self.skipped.append(Skipped(f"model {model}", reason, place))
        for one in self._charts.rendered:
            self.objects.append(one.deployment)
            if one.scaled_object is not None:
                self.objects.append(one.scaled_object)
            sources = {**self._sources, **one.sources}
            self._join(one.deployment, one.scaled_object, sources, from_chart=True)
        for manifest in self._charts.others:
            self.objects.append(manifest)
            if manifest.kind == "Service" or manifest.kind in MONITORS:
                self._scraped(manifest)

    def _targets(self) -> dict[str, Manifest]:
        """The ScaledObjects of the documents, by what they scale."""
        targets: dict[str, Manifest] = {}
        for scaled_object in self._scaled_objects:
            target = target_name(scaled_object)
            if target in targets:
                other = targets[target]
                message = f"two ScaledObjects scale `{target}`, the other is `{other.name}`"
                place = scaled_object.place("spec", "scaleTargetRef", "name")
                self._error(message, place, f"see {other.place()}: KEDA's webhook refuses this")
                continue
            targets[target] = scaled_object
        return targets

    def _attach_horizontal(self) -> None:
        """Give every HPA to the workload that it scales."""
        hpas, errors = horizontaljoining.read_all(
            self._horizontal, self._namespace, self._kubernetes_version
        )
        self.errors.extend(errors)
        by_target: dict[str, list[horizontaljoining.Horizontal]] = {}
        for hpa in hpas:
            by_target.setdefault(target_name(hpa.manifest), []).append(hpa)
        for index, application in enumerate(self.applications):
            own = by_target.pop(workload_name(application.deployment), None)
            if own is None:
                continue
            joined = horizontaljoining.join(
                application.scaling, own, application.workload.pod_labels
            )
            self.errors.extend(joined.errors)
            for manifest, reason in joined.idle:
                what = f"HorizontalPodAutoscaler {manifest.name}"
                self.skipped.append(Skipped(what, reason, manifest.place()))
            self.applications[index] = replace(
                application, scaling=joined.scaling, horizontal=joined.manifest
            )
        for target, left in by_target.items():
            for hpa in left:
                self._without_target(hpa, target)

    def _without_target(self, hpa: horizontaljoining.Horizontal, target: str) -> None:
        """An HPA whose workload is not run: it is another's, or it is not there at all."""
        what = f"HorizontalPodAutoscaler {hpa.manifest.name}"
        if target in self._charts.deployments | self._names:
            reason = f"it scales {hpa.spec.target}, which is not run"
            self.skipped.append(Skipped(what, reason, hpa.manifest.place()))
            return
        place = hpa.manifest.place("spec", "scaleTargetRef", "name")
        there = sorted(application.workload.name for application in self.applications)
        hint = did_you_mean(target, there) or (
            f"there is {', '.join(there)}" if there else "there is no Deployment at all"
        )
        message = (
            f"the scale target `{hpa.spec.target}` of HPA {hpa.spec.name} is not in these files"
        )
        self.missing.append(InputError(message, hint=hint, place=place))

    def _attach(self, scaled_object: Manifest) -> None:
        """A ScaledObject whose Deployment is not a document: the chart may have rendered it."""
        scaling, errors = read_scaled_object(scaled_object, self._namespace)
        self.errors.extend(errors)
        if scaling is None:
            return
        place = scaled_object.place("spec", "scaleTargetRef", "name")
        target = target_name(scaled_object)
        for index, application in enumerate(self.applications):
            if workload_name(application.deployment) != target:
                continue
            if application.scaled_object is not None:
                other = application.scaled_object.place()
                message = f"`{target}` is scaled by another ScaledObject already"
                self._error(message, place, f"see {other}: KEDA's webhook refuses this")
                return
            workload = application.workload
            if "replicas" not in application.deployment.content["spec"]:
                workload = replace(workload, replicas=None)  # as where both are joined at once
            self.applications[index] = replace(
                application, workload=workload, scaling=scaling, scaled_object=scaled_object
            )
            return
        if target in self._charts.deployments | self._names:
            return  # it is there, and what is wrong with it has been told
        there = sorted(application.workload.name for application in self.applications)
        there += sorted(item.what for item in self.skipped if item.what.startswith("Deployment "))
        hint = did_you_mean(target, there) if target == scaling.target.name else None
        if hint is None:
            hint = f"there is {', '.join(there)}" if there else "there is no Deployment at all"
        message = f"the scale target `{scaling.target}` is not in these files"
        self.missing.append(InputError(message, hint=hint, place=place))
        self.unattached.append(Unattached(scaling, scaled_object))


def _inside(document: Document, index: int) -> Origin:
    return Origin(document, lambda path: ("items", index, *path))


def position(place: Place) -> tuple[str, int, int]:
    """By which places are sorted: file, line, column."""
    return place.file, place.line or 0, place.column or 0
