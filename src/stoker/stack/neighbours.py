"""What triggers may ask of the run itself: its pods, and where the pods behind a Service listen."""

from __future__ import annotations

from collections.abc import Sequence

from stoker.errors import StokerError
from stoker.resources import Bundle
from stoker.stack.applications import RunningApplication
from stoker.triggers.base import PodFacts


class Neighbours:
    """The pods of all applications of a run, those that come later too."""

    def __init__(self, applications: Sequence[RunningApplication], bundle: Bundle) -> None:
        self._applications = applications
        self._services = bundle.services

    def pods(self) -> list[PodFacts]:
        """For ``kubernetes-workload``: all pods, terminating ones included."""
        return [
            PodFacts(pod.namespace, {**one.workload.pod_labels, **pod.labels}, pod.phase)
            for one in self._applications
            for pod in one.deployment.pods()
        ]

    def endpoints(self, name: str, namespace: str, port: int) -> list[str]:
        """For ``aggregateFromKubeServiceEndpoints``: the ready pods that a Service selects.

        Each listens on a port of its own here, so that *port*, the Service's, leads nowhere.
        """
        for service in self._services:
            if (service.name, service.namespace) == (name, namespace):
                break
        else:
            raise StokerError(
                "failed to get kubernetes endpoints urls from configured service URL",
                hint=f"there is no Service {name} in namespace {namespace} in these files "
                f"(port {port})",
            )
        wanted = service.selector.items()
        return [
            pod.url
            for one in self._applications
            for pod in one.deployment.pods()
            if pod.ready
            and not pod.terminating
            and pod.url is not None
            and pod.namespace == namespace
            and wanted
            and wanted <= {**one.workload.pod_labels, **pod.labels}.items()
        ]
