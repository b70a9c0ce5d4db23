"""Which HPA scales which workload, and who is in its way.

The API server takes any HPA; what goes wrong shows later. Two HPAs over the same pods stop each
other, and KEDA's webhook refuses a ScaledObject for a workload that has an HPA already.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from stoker.errors import InputError
from stoker.resources.document import Manifest
from stoker.resources.horizontalreading import read_horizontal_pod_autoscaler
from stoker.scaling.annotations import is_true
from stoker.scaling.spec import ScalingSpec

OWNERSHIP = "validations.keda.sh/hpa-ownership"
MANAGED_BY, KEDA = "app.kubernetes.io/managed-by", "keda-operator"
TRANSFER = "scaledobject.keda.sh/transfer-hpa-ownership"


@dataclass(frozen=True, slots=True)
class Horizontal:
    """An HPA that was read."""

    spec: ScalingSpec
    manifest: Manifest


@dataclass(frozen=True, slots=True)
class Joined:
    """What scales a workload in the end, None for a fixed size; ``idle`` HPAs have no part in it.

    Each of those comes with the reason. KEDA's own HPA of a ScaledObject is none of them: it is
    what the ScaledObject becomes.
    """

    scaling: ScalingSpec | None
    manifest: Manifest | None = None  # of the HPA, where that is what scales
    idle: tuple[tuple[Manifest, str], ...] = ()
    errors: tuple[InputError, ...] = ()


def read_all(
    manifests: Sequence[Manifest], namespace: str, kubernetes_version: str
) -> tuple[tuple[Horizontal, ...], tuple[InputError, ...]]:
    """The HPAs among *manifests* that the API server would take, and what is wrong with others."""
    found: list[Horizontal] = []
    errors: list[InputError] = []
    for manifest in manifests:
        spec, wrong = read_horizontal_pod_autoscaler(
            manifest, namespace, kubernetes_version=kubernetes_version
        )
        errors.extend(wrong)
        if spec is not None:
            found.append(Horizontal(spec, manifest))
    return tuple(found), tuple(errors)


def join(
    scaling: ScalingSpec | None, hpas: Sequence[Horizontal], pod_labels: Mapping[str, str]
) -> Joined:
    """*hpas* are those of one workload, which *scaling*, a ScaledObject, may scale, too."""
    if scaling is None:
        return _without_keda(hpas, pod_labels)
    errors, idle, rivals = [], [], []
    for hpa in hpas:
        if hpa.spec.name == scaling.hpa_name and hpa.spec.labels.get(MANAGED_BY) == KEDA:
            continue  # KEDA makes it, of this ScaledObject
        if hpa.spec.name == scaling.hpa_name and is_true(scaling.annotations.get(TRANSFER)):
            idle.append((hpa.manifest, f"KEDA takes it over for ScaledObject {scaling.name}"))
        elif hpa.spec.annotations.get(OWNERSHIP) == "false":
            idle.append((hpa.manifest, _STUCK))
            rivals.append(hpa.spec.name)
        else:
            errors.append(_foreign(scaling, hpa))
    message = ambiguity((scaling.hpa_name, *rivals), scaling.namespace, pod_labels)
    return Joined(replace(scaling, ambiguous=message), None, tuple(idle), tuple(errors))


_STUCK = "it is not run here; in a cluster several HPAs over the same pods stop each other"


def _without_keda(hpas: Sequence[Horizontal], pod_labels: Mapping[str, str]) -> Joined:
    if not hpas:
        return Joined(None)
    first, *others = hpas
    names = tuple(hpa.spec.name for hpa in hpas)
    message = ambiguity(names, first.spec.namespace, pod_labels)
    idle = tuple((hpa.manifest, _STUCK) for hpa in others)
    return Joined(replace(first.spec, ambiguous=message), first.manifest, idle)


def ambiguity(names: Sequence[str], namespace: str, pod_labels: Mapping[str, str]) -> str:
    """What the HPA controller says where several HPAs control the same pods; "" for one."""
    if len(names) < 2:
        return ""
    selector = ",".join(f"{key}={value}" for key, value in sorted(pod_labels.items()))
    shown = " ".join(f"{{{name} {namespace}}}" for name in names)
    return f"pods by selector {selector} are controlled by multiple HPAs: [{shown}]"


def _foreign(scaling: ScalingSpec, hpa: Horizontal) -> InputError:
    return InputError(
        f"`{scaling.target}` is scaled by ScaledObject {scaling.name}, too: KEDA's webhook refuses "
        "a ScaledObject beside an HPA",
        hint=f'take one of them away, or let KEDA have this HPA: annotation `{TRANSFER}: "true"` '
        f"and horizontalPodAutoscalerConfig.name {hpa.spec.name}",
        place=hpa.manifest.place("metadata", "name"),
    )
