"""What KEDA's webhook and its operator say of a ScaledObject that the API server has accepted.

The webhook looks once, before the object is stored, and does not build triggers. The operator looks
again and again, and builds the triggers and the HPA; what it cannot build ends as Ready=False with
ScaledObjectCheckFailed. Both see the other objects of the cluster.

*Source*: ``apis/keda/v1alpha1/*_webhook.go`` and ``controllers/keda/scaledobject_controller.go`` of
KEDA 2.20, and recorded answers of both.
"""

from stoker.checks.keda.authentication import authentication_refusal
from stoker.checks.keda.cluster import Autoscaler, Cluster, Container
from stoker.checks.keda.operator import (
    TYPES,
    Readiness,
    Source,
    autoscaler,
    build_failures,
    readiness,
)
from stoker.checks.keda.webhook import webhook_refusal

__all__ = [
    "TYPES",
    "Autoscaler",
    "Cluster",
    "Container",
    "Readiness",
    "Source",
    "authentication_refusal",
    "autoscaler",
    "build_failures",
    "readiness",
    "webhook_refusal",
]
