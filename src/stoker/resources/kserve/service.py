"""The Service that KServe puts in front of a predictor in Standard mode.

Source: ``service_reconciler.go`` of KServe 0.20.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stoker.resources.document import Manifest
from stoker.resources.kserve import names
from stoker.resources.kserve.merging import listed
from stoker.resources.kserve.podtemplate import Component
from stoker.resources.translation import translated


def render_service(component: Component, deployment: Manifest) -> Manifest:
    """Port 80 for the first port of the first container, further ports under their own numbers."""
    metadata = component.metadata()
    containers = deployment.content["spec"]["template"]["spec"]["containers"]
    ports_of_first = containers[0].get("ports") if containers else None
    declared = [one for one in listed(ports_of_first) if isinstance(one, Mapping)]
    if not declared:
        declared = [{"containerPort": names.HTTP_PORT, "name": component.name}]
    ports = [_port(one, 80 if index == 0 else one) for index, one in enumerate(declared)]
    content = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {"selector": {"app": metadata["labels"]["app"]}, "ports": ports},
    }
    return translated(component.manifest, content, default=("spec", "predictor"))


def _port(declared: Mapping[str, Any], shown: int | Mapping[str, Any]) -> dict[str, Any]:
    number = declared.get("containerPort")
    name = {"name": declared["name"]} if declared.get("name") else {}
    return {
        **name,
        "port": shown if isinstance(shown, int) else number,
        "targetPort": number,
        "protocol": declared.get("protocol") or "TCP",
    }
