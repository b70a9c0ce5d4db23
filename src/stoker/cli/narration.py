"""What `stoker up` says while it runs: events and decisions, for people or as JSON lines."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Any, Protocol

from stoker.checks import Finding
from stoker.cli.console import error_text, use_color
from stoker.cli.findings import finding_text
from stoker.clock import local_time, rfc3339
from stoker.errors import StokerError
from stoker.events import Event
from stoker.metrics.scrapetarget import ScrapeTarget
from stoker.stack.applications import RunningApplication
from stoker.stack.stack import Stack
from stoker.tick import Tick


class Narrator(Protocol):
    """What is told of a run."""

    def findings(self, findings: tuple[Finding, ...]) -> None:
        """Before it starts: what is wrong with the files."""
        ...

    def started(self, stack: Stack) -> None:
        """Everything is up."""
        ...

    def event(self, event: Event) -> None:
        """Something happened to an object."""
        ...

    def tick(self, tick: Tick) -> None:
        """KEDA or the HPA has looked."""
        ...

    def target(self, target: ScrapeTarget, first: float) -> None:
        """A page is scraped from now on, at *first* for the first time."""
        ...

    def notice(self, notice: StokerError) -> None:
        """Something that the user has to do something about."""
        ...

    def stopping(self, stack: Stack) -> None:
        """A signal came."""
        ...


class JsonNarrator:
    """One JSON object a line: ``{"type": "event" | "tick" | ..., ...}``."""

    def findings(self, findings: tuple[Finding, ...]) -> None:
        """A line for each finding."""
        for finding in findings:
            _line("finding", asdict(finding))

    def started(self, stack: Stack) -> None:
        """The addresses."""
        _line(
            "started",
            {
                "time": stack.started_at,
                "engine": stack.engine.name,
                "gpus": stack.gpus,
                "gateway": stack.gateway.url,
                "prometheus": stack.prometheus_url,
                "otlp": stack.otlp_urls,
                "stateDir": str(stack.options.state_dir),
            },
        )

    def event(self, event: Event) -> None:
        """The event as recorded."""
        _line("event", asdict(event))

    def tick(self, tick: Tick) -> None:
        """The whole record."""
        _line("tick", tick.to_dict())

    def target(self, target: ScrapeTarget, first: float) -> None:
        """What `stoker replay --moments` wants to know."""
        _line(
            "target",
            {
                "time": first,
                "pod": target.labels.get("pod"),
                "url": target.url,
                "interval": target.interval,
            },
        )

    def notice(self, notice: StokerError) -> None:
        """Message and hint."""
        _line("notice", {"message": notice.message, "hint": notice.hint})

    def stopping(self, stack: Stack) -> None:
        """The time."""
        _line("stopping", {"time": stack.clock.now()})


class TextNarrator:
    """A line for each thing that happens for the first time."""

    def findings(self, findings: tuple[Finding, ...]) -> None:
        """Errors and warnings; what only informs is for `stoker check`."""
        for finding in findings:
            if finding.severity != "info":
                print(finding_text(finding, color=use_color(sys.stderr)), file=sys.stderr)

    def started(self, stack: Stack) -> None:
        """What runs, and where."""
        pretended = "" if stack.engine.name == "vllm" else " (pretended)"
        print(f"engine      {stack.engine.name}, {stack.gpus} GPUs{pretended}")
        for application in stack.applications:
            print(f"model       {_model(application)}")
        print(f"gateway     {stack.gateway.url}/v1")
        print(f"prometheus  {stack.prometheus_url}")
        for protocol, url in stack.otlp_urls.items():
            print(f"otlp        {url} ({protocol})")
        if stack.options.record is not None:
            print(f"record      {stack.options.record}")
        print(f"state       {stack.options.state_dir}")
        print("Ctrl-C stops. In another terminal: stoker top, stoker get so,hpa,pods", flush=True)

    def event(self, event: Event) -> None:
        """Something that did not happen before."""
        if event.count == 1:
            mark = "!" if event.type == "Warning" else " "
            when = local_time(event.last_seen)
            print(f"{when} {mark} {event.about}  {event.reason}  {event.message}", flush=True)

    def tick(self, tick: Tick) -> None:
        """Nothing: what a decision changes is an event already."""

    def target(self, target: ScrapeTarget, first: float) -> None:
        """Nothing: people look at the tables of `stoker get`."""

    def notice(self, notice: StokerError) -> None:
        """As an error is printed, but the run goes on."""
        print(error_text(notice, color=use_color(sys.stderr)), file=sys.stderr, flush=True)

    def stopping(self, stack: Stack) -> None:
        """What is waited for, and how not to wait."""
        pods = [pod for a in stack.applications for pod in a.deployment.pods()]
        requests = sum(stack.gateway.in_flight(pod.name) for pod in pods)
        print(
            f"\nStopping {len(pods)} replicas, {requests} requests to finish "
            "(Ctrl-C again to stop at once)",
            file=sys.stderr,
        )


def _model(application: RunningApplication) -> str:
    workload, scaled = application.workload, application.autoscaling
    if scaled is None:
        return f"{workload.model}: Deployment {workload.name}, {workload.replicas} replicas, fixed"
    spec = scaled.controller.spec
    return (
        f"{workload.model}: Deployment {workload.name}, {spec.min_replicas} to "
        f"{spec.max_replicas} replicas by {spec.kind} {spec.name}"
    )


def _line(type_: str, content: dict[str, Any]) -> None:
    time = content.get("time")
    stamp = {"at": rfc3339(time)} if isinstance(time, float) else {}
    print(json.dumps({"type": type_, **stamp, **content}), flush=True)
