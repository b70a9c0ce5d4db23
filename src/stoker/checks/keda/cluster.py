"""What the webhook and the operator see of the cluster around an object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from stoker.scaling.spec import ScaleTargetRef


@dataclass(frozen=True, slots=True)
class Container:
    """A container of a scale target: which of cpu and memory it requests or limits."""

    name: str
    resources: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Autoscaler:
    """An HPA that is there already."""

    name: str
    target: ScaleTargetRef
    owner: str = ""  # the ScaledObject that made it
    is_shared: bool = False  # validations.keda.sh/hpa-ownership: "false"


@dataclass(frozen=True, slots=True)
class Cluster:
    """The other objects of the namespace, as far as they decide."""

    targets: Mapping[tuple[str, str], tuple[Container, ...]]  # (kind in lower case, name)
    autoscalers: tuple[Autoscaler, ...] = ()
    scaled_objects: tuple[tuple[str, ScaleTargetRef, str], ...] = ()  # name, target, HPA's name
    kinds: frozenset[tuple[str, str]] = field(
        default_factory=lambda: frozenset(
            {
                *(
                    ("apps/v1", kind)
                    for kind in ("deployment", "statefulset", "replicaset", "daemonset")
                ),
                *(("v1", kind) for kind in ("pod", "replicationcontroller", "service")),
            }
        )
    )  # (apiVersion, kind in lower case) that the API server knows
