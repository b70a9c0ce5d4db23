"""Names, labels and annotations that KServe's controllers give and read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

GROUP: Final = "serving.kserve.io"
DEPLOYMENT_MODE: Final = f"{GROUP}/deploymentMode"
AUTOSCALER_CLASS: Final = f"{GROUP}/autoscalerClass"
STOP: Final = f"{GROUP}/stop"
ENABLE_SCRAPING: Final = f"{GROUP}/enable-prometheus-scraping"
ENABLE_AGGREGATION: Final = f"{GROUP}/enable-metric-aggregation"
SOURCE_URI: Final = "internal.serving.kserve.io/storage-initializer-sourceuri"
RUNTIME_PORT: Final = "prometheus.kserve.io/port"
SCRAPE_PORT: Final = "prometheus.io/port"
SCRAPE_PATH: Final = "prometheus.io/path"
INJECT_COLLECTOR: Final = "sidecar.opentelemetry.io/inject"

CONTAINER: Final = "kserve-container"
HTTP_PORT: Final = 8080
MODEL_MOUNT: Final = "/mnt/models"

CLASSES: Final = ("hpa", "keda", "external", "none")
# Old and new names of the deployment modes; the webhook writes the new ones.
MODES: Final[Mapping[str, str]] = {
    "Standard": "Standard",
    "RawDeployment": "Standard",
    "Knative": "Knative",
    "Serverless": "Knative",
    "ModelMesh": "ModelMesh",
}
# Annotations of the InferenceService that KServe does not pass on to what it makes.
_NOT_PASSED_ON: Final = frozenset(
    {
        "autoscaling.knative.dev/minScale",
        "autoscaling.knative.dev/maxScale",
        "autoscaling.knative.dev/min-scale",
        "autoscaling.knative.dev/max-scale",
        SOURCE_URI,
        "kubectl.kubernetes.io/last-applied-configuration",
    }
)


def predictor_name(service: str) -> str:
    """``huggingface-qwen-predictor``: of the Deployment, the ScaledObject and the Service."""
    return f"{service}-predictor"


def app_label(component: str) -> str:
    """``isvc.huggingface-qwen-predictor``: label ``app`` of the pods."""
    return f"isvc.{component}"


def passed_on(annotations: Mapping[str, str]) -> dict[str, str]:
    """The annotations that KServe copies to the objects it makes."""
    return {key: text for key, text in annotations.items() if key not in _NOT_PASSED_ON}
