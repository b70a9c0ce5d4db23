"""What files say, after it was read and joined."""

from __future__ import annotations

from dataclasses import dataclass, field

from stoker.errors import InputError, Place
from stoker.metrics.monitors import ServiceFacts
from stoker.resources.authentication import Authentication
from stoker.resources.document import Document, Manifest
from stoker.resources.environment import Sources
from stoker.resources.monitoring import PlacedMonitor
from stoker.resources.translation import Ignored, Translation
from stoker.resources.workload import Workload
from stoker.scaling.spec import ScalingSpec


@dataclass(frozen=True, slots=True)
class Application:
    """A model server and, where something scales it, how."""

    workload: Workload
    scaling: ScalingSpec | None  # None: a fixed number of replicas
    origin: Place
    deployment: Manifest
    scaled_object: Manifest | None
    from_chart: bool = False  # rendered from Helm values
    translation: Translation | None = None  # of the custom resource that it was made of
    horizontal: Manifest | None = None  # an HPA that a user wrote, where it is what scales


@dataclass(frozen=True, slots=True)
class Skipped:
    """A document, or a part of one, that has no part in serving or scaling here."""

    what: str
    reason: str
    place: Place


@dataclass(frozen=True, slots=True)
class Unattached:
    """A ScaledObject whose target is not run from these files; it can still be looked at."""

    scaling: ScalingSpec
    manifest: Manifest
    deployment: Manifest | None = None  # None: its target is not in the files


@dataclass(frozen=True, slots=True)
class Bundle:
    """What was read. ``documents`` are the raw ones, with places.

    ``monitors`` and ``services`` say what is scraped. ``objects`` are all Kubernetes objects, those
    of unknown kinds and those that Helm values and custom resources become among them. ``ignored``
    are fields that the controller of a custom resource takes no notice of.
    """

    applications: tuple[Application, ...]
    skipped: tuple[Skipped, ...]
    documents: tuple[Document, ...] = field(repr=False)
    monitors: tuple[PlacedMonitor, ...] = ()
    services: tuple[ServiceFacts, ...] = ()
    unattached: tuple[Unattached, ...] = ()
    objects: tuple[Manifest, ...] = field(default=(), repr=False)
    ignored: tuple[Ignored, ...] = ()
    authentications: tuple[Authentication, ...] = ()
    sources: Sources = field(default_factory=dict, repr=False)  # Secrets and ConfigMaps
    translated: tuple[Manifest, ...] = ()  # documents that other objects were made of


@dataclass(frozen=True, slots=True)
class Reading:
    """What could be read of files, and everything that is wrong with the rest."""

    bundle: Bundle
    unreadable: tuple[InputError, ...]  # no files, or not YAML
    refused: tuple[InputError, ...]  # objects that a cluster would refuse or could not run


def workload_name(manifest: Manifest) -> str:
    """The name of a workload as :func:`target_name` has it."""
    return manifest.name if manifest.kind == "Deployment" else f"{manifest.kind} {manifest.name}"


def target_name(manifest: Manifest) -> str:
    """The Deployment that a ScaledObject scales, as written; with its kind if it is another."""
    spec = manifest.content.get("spec")
    target = spec.get("scaleTargetRef") if isinstance(spec, dict) else None
    if not isinstance(target, dict):
        return ""
    kind = str(target.get("kind") or "Deployment")
    name = str(target.get("name", ""))
    # The Deployment of a VLLMRuntime has its name, and follows its scale.
    return name if kind.lower() in {"deployment", "vllmruntime"} else f"{kind} {name}"
