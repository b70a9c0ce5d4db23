"""The ConfigMap ``inferenceservice-config``, as far as it says how things are translated."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from stoker.errors import InputError
from stoker.resources.document import Manifest
from stoker.resources.kserve import names

CONFIG_MAP: Final = "inferenceservice-config"


@dataclass(frozen=True, slots=True)
class KServeConfig:
    """KServe's own defaults. Windows in seconds."""

    deployment_mode: str = "Standard"
    scale_up_window: int = 0
    scale_down_window: int = 300
    collector_scrape_interval: str = "5s"
    metric_receiver: str = "keda-otel-scaler.keda.svc:4317"
    metric_scaler: str = "keda-otel-scaler.keda.svc:4318"


DEFAULT_CONFIG: Final = KServeConfig()


def read_config(manifest: Manifest) -> KServeConfig:
    """The ConfigMap with KServe's defaults for what it leaves out.

    Raises:
        InputError: one of its values is not JSON, or of the wrong type.
    """
    deploy = _json(manifest, "deploy")
    windows = _json(manifest, "autoscaler")
    collector = _json(manifest, "opentelemetryCollector")
    mode = str(deploy.get("defaultDeploymentMode") or DEFAULT_CONFIG.deployment_mode)

    def text(key: str, default: str) -> str:
        return str(collector.get(key) or default)

    return KServeConfig(
        names.MODES.get(mode, mode),
        _window(manifest, windows, "scaleUpStabilizationWindowSeconds", 0),
        _window(manifest, windows, "scaleDownStabilizationWindowSeconds", 300),
        text("scrapeInterval", DEFAULT_CONFIG.collector_scrape_interval),
        text("metricReceiverEndpoint", DEFAULT_CONFIG.metric_receiver),
        text("metricScalerEndpoint", DEFAULT_CONFIG.metric_scaler),
    )


def _json(manifest: Manifest, key: str) -> Mapping[str, Any]:
    data = manifest.content.get("data")
    text = data.get(key) if isinstance(data, Mapping) else None
    if text is None:
        return {}
    try:
        found = json.loads(str(text))
    except ValueError as error:
        message = f"`data.{key}` is not JSON: {error}"
        raise InputError(message, place=manifest.place("data", key)) from None
    if not isinstance(found, dict):
        message = f"`data.{key}` must be a JSON object"
        raise InputError(message, place=manifest.place("data", key))
    return found


def _window(manifest: Manifest, windows: Mapping[str, Any], key: str, default: int) -> int:
    value = windows.get(key, default)
    if value == "":
        return default
    try:
        seconds = int(str(value))
    except ValueError:
        seconds = -1
    if not 0 <= seconds <= 3600:
        message = f"`data.autoscaler`: {key} must be from 0 to 3600 seconds, not {value!r}"
        raise InputError(message, place=manifest.place("data", "autoscaler"))
    return seconds
