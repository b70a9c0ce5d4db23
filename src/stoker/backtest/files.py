"""The ScaledObject of a file, with or without the Deployment that it scales."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TextIO

from stoker.errors import InputError, InputErrors, Place
from stoker.resources import load
from stoker.resources.document import Manifest, Origin
from stoker.resources.horizontalreading import read_horizontal_pod_autoscaler
from stoker.resources.horizontalrules import DEFAULT_KUBERNETES
from stoker.resources.loading import STDIN, load_documents
from stoker.resources.scaledobject import read_scaled_object
from stoker.scaling.spec import ScalingSpec

_KINDS = frozenset({"ScaledObject", "HorizontalPodAutoscaler"})


@dataclass(frozen=True, slots=True)
class Subject:
    """What a backtest is about."""

    spec: ScalingSpec
    replicas: int | None  # of the Deployment, None where the file does not say


def read_subject(
    path: str,
    *,
    name: str | None = None,
    release: str = "vllm",
    namespace: str = "default",
    kubernetes_version: str = DEFAULT_KUBERNETES,
    stdin: TextIO | None = None,
) -> Subject:
    """The ScaledObject in *path*, the one called *name* if there are several.

    Unlike a run, a backtest needs no model server: a file of ScaledObjects alone is enough.

    Raises:
        InputErrors: all that is wrong in the file.
        InputError: there is no ScaledObject, or there are several and none was chosen.
    """
    text = stdin.read() if path == STDIN and stdin is not None else None

    def again() -> TextIO | None:
        return None if text is None else io.StringIO(text)

    subjects = _scaled_objects_alone(path, namespace, again(), kubernetes_version)
    if subjects is None:
        bundle = load(
            [path],
            release=release,
            namespace=namespace,
            kubernetes_version=kubernetes_version,
            stdin=again(),
        )
        subjects = [
            Subject(a.scaling, a.workload.replicas)
            for a in bundle.applications
            if a.scaling is not None
        ]
    return _chosen(subjects, name, path)


def _scaled_objects_alone(
    path: str, namespace: str, stdin: TextIO | None, kubernetes_version: str
) -> list[Subject] | None:
    """The ScaledObjects and HPAs of a file without any workload, None for others."""
    documents, errors = load_documents([path], stdin)
    kinds = {document.value.get("kind") for document in documents}
    if kinds.isdisjoint(_KINDS) or not kinds <= {*_KINDS, "Secret", "ConfigMap", "Service"}:
        return None
    problems = list(errors)
    subjects = []
    for document in documents:
        if document.value.get("kind") not in _KINDS:
            continue
        manifest = Manifest(document.value, Origin(document))
        if manifest.kind == "ScaledObject":
            spec, wrong = read_scaled_object(manifest, namespace)
        else:
            spec, wrong = read_horizontal_pod_autoscaler(
                manifest, namespace, kubernetes_version=kubernetes_version
            )
        problems += wrong
        if spec is not None:
            subjects.append(Subject(spec, None))
    if problems:
        raise InputErrors(problems)
    return subjects


def _chosen(subjects: list[Subject], name: str | None, path: str) -> Subject:
    place = Place(path)
    names = ", ".join(sorted(subject.spec.name for subject in subjects))
    if not subjects:
        raise InputError(
            "no ScaledObject in this file",
            hint="a model without `keda.enabled` has a fixed number of replicas",
            place=place,
        )
    if name is not None:
        for subject in subjects:
            if subject.spec.name == name:
                return subject
        raise InputError(
            f"no ScaledObject `{name}` in this file", hint=f"there is {names}", place=place
        )
    if len(subjects) > 1:
        raise InputError(
            f"{len(subjects)} ScaledObjects in this file",
            hint=f"choose with --name: {names}",
            place=place,
        )
    return subjects[0]
