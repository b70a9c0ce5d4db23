"""`stoker describe` for Deployments and pods, in the form of kubectl."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from stoker.ui.columns import at, labels_text

JsonObject = dict[str, Any]
_NONE = "<none>"
_MAX_ANNOTATION = 140  # characters of a line; longer ones are cut
_HIDDEN_ANNOTATION = "kubectl.kubernetes.io/last-applied-configuration"


def long_time(timestamp: str) -> str:
    """``Sun, 22 Nov 2026 16:03:14 +0000``, in the user's time zone."""
    return datetime.fromisoformat(timestamp).astimezone().strftime("%a, %d %b %Y %H:%M:%S %z")


def label_lines(
    labels: Mapping[str, str], indent: str = "", title: str = "Labels"
) -> Iterator[str]:
    """One label a line, the first beside the title."""
    if not labels:
        yield f"{indent}{title}:\t{_NONE}"
    for number, (key, value) in enumerate(sorted(labels.items())):
        yield f"{indent}{title}:\t{key}={value}" if number == 0 else f"{indent}\t{key}={value}"


def annotation_lines(annotations: Mapping[str, str]) -> Iterator[str]:
    """One annotation a line; long ones and those of several lines below their key."""
    shown = sorted((k, v) for k, v in annotations.items() if k != _HIDDEN_ANNOTATION)
    if not shown:
        yield f"Annotations:\t{_NONE}"
    for number, (key, value) in enumerate(shown):
        title = "Annotations:" if number == 0 else ""
        text = value.removesuffix("\n")
        if len(key) + len(text) + 2 > _MAX_ANNOTATION or "\n" in text:
            yield f"{title}\t{key}:"
            for line in text.split("\n"):
                cut = f"{line[: _MAX_ANNOTATION - 5]}..." if len(line) > _MAX_ANNOTATION else line
                yield f"\t  {cut}"
        else:
            yield f"{title}\t{key}: {text}"


def deployment_lines(found: JsonObject) -> Iterator[str]:
    """A Deployment, without its events."""
    meta, spec, status = found["metadata"], found["spec"], found.get("status") or {}
    counts = (
        f"{spec['replicas']} desired",
        f"{status.get('updatedReplicas', 0)} updated",
        f"{status.get('replicas', 0)} total",
        f"{status.get('availableReplicas', 0)} available",
        f"{status.get('unavailableReplicas', 0)} unavailable",
    )
    update = at(spec, "strategy.rollingUpdate", {})
    yield f"Name:\t{meta['name']}"
    yield f"Namespace:\t{meta.get('namespace', '')}"
    yield f"CreationTimestamp:\t{long_time(meta['creationTimestamp'])}"
    yield from label_lines(meta.get("labels", {}))
    yield from annotation_lines(meta.get("annotations", {}))
    yield f"Selector:\t{labels_text(at(spec, 'selector.matchLabels'))}"
    yield "Replicas:\t" + " | ".join(counts)
    yield f"StrategyType:\t{at(spec, 'strategy.type', '')}"
    yield f"MinReadySeconds:\t{spec.get('minReadySeconds', 0)}"
    if update:
        yield (
            f"RollingUpdateStrategy:\t{update['maxUnavailable']} max unavailable, "
            f"{update['maxSurge']} max surge"
        )
    yield from _template_lines(spec["template"])
    yield from _condition_lines(status.get("conditions", ()), ("Type", "Status", "Reason"))
    yield f"OldReplicaSets:\t{_NONE}"
    yield f"NewReplicaSet:\t{_replica_set(found)}"


def _replica_set(found: JsonObject) -> str:
    """Name and size. The name is told by the Progressing condition only, as the controller does."""
    for condition in at(found, "status.conditions", ()):
        if name := re.search(r'ReplicaSet "([^"]+)"', condition.get("message", "")):
            made, wanted = at(found, "status.replicas", 0), at(found, "spec.replicas", 0)
            return f"{name[1]} ({made}/{wanted} replicas created)"
    return _NONE


def _template_lines(template: JsonObject) -> Iterator[str]:
    yield "Pod Template:"
    yield from label_lines(at(template, "metadata.labels", {}), "  ")
    yield "  Containers:"
    for container in template["spec"]["containers"]:
        yield f"   {container['name']}:"
        yield from _container_lines(container)
        yield from _environment_lines(container)
    yield f"  Volumes:\t{_NONE}"
    yield f"  Node-Selectors:\t{_NONE}"
    yield f"  Tolerations:\t{_NONE}"


def _container_lines(container: JsonObject) -> Iterator[str]:
    yield f"    Image:\t{container.get('image', '')}"
    yield from _port_lines(container.get("ports", ()))
    yield from _argument_lines("Command", container.get("command", ()))
    yield from _argument_lines("Args", container.get("args", ()))


def _port_lines(ports: Sequence[JsonObject]) -> Iterator[str]:
    title = "Port" if len(ports) <= 1 else "Ports"
    inner = (f"{p['containerPort']}/{p.get('protocol', 'TCP')}" for p in ports)
    outer = (f"{p.get('hostPort', 0)}/{p.get('protocol', 'TCP')}" for p in ports)
    yield f"    {title}:\t{', '.join(inner) or _NONE}"
    yield f"    Host {title}:\t{', '.join(outer) or _NONE}"


def _argument_lines(title: str, arguments: Sequence[str]) -> Iterator[str]:
    if arguments:
        yield f"    {title}:"
    for argument in arguments:
        for line in argument.split("\n"):
            yield f"      {line}"


def _environment_lines(container: JsonObject) -> Iterator[str]:
    for key in ("limits", "requests"):
        amounts = at(container, f"resources.{key}", {})
        if amounts:
            yield f"    {key.capitalize()}:"
        for resource, amount in sorted(amounts.items()):
            yield f"      {resource}:\t{amount}"
    for key in ("liveness", "readiness", "startup"):
        if probe := container.get(f"{key}Probe"):
            yield f"    {key.capitalize()}:\t{probe_text(probe)}"
    variables = container.get("env", ())
    yield f"    Environment:\t{_NONE}" if not variables else "    Environment:"
    for variable in variables:
        yield f"      {variable['name']}:\t{variable.get('value', '')}"
    yield f"    Mounts:\t{_NONE}"


def probe_text(probe: JsonObject) -> str:
    """``http-get http://:8000/health delay=0s timeout=1s period=10s #success=1 #failure=3``."""
    if http := probe.get("httpGet"):
        asked = f"http-get {http['scheme'].lower()}://:{http['port']}{http['path']}"
    elif tcp := probe.get("tcpSocket"):
        asked = f"tcp-socket :{tcp['port']}"
    else:
        asked = f"exec [{' '.join(at(probe, 'exec.command', ()))}]"
    return (
        f"{asked} delay={probe['initialDelaySeconds']}s timeout={probe['timeoutSeconds']}s "
        f"period={probe['periodSeconds']}s #success={probe['successThreshold']} "
        f"#failure={probe['failureThreshold']}"
    )


def _condition_lines(conditions: Sequence[JsonObject], headings: Sequence[str]) -> Iterator[str]:
    if not conditions:
        return
    yield "Conditions:"
    yield "  " + "\t".join(headings)
    yield "  " + "\t".join("-" * len(heading) for heading in headings)
    for condition in conditions:
        type_, *others = (str(condition.get(heading.lower(), "")) for heading in headings)
        yield "  " + "\t".join((f"{type_} ", *others))


def pod_lines(found: JsonObject) -> Iterator[str]:
    """A pod, without its events."""
    meta, spec, status = found["metadata"], found["spec"], found.get("status") or {}
    node = f"{spec['nodeName']}/{status.get('hostIP', '')}" if spec.get("nodeName") else _NONE
    yield f"Name:\t{meta['name']}"
    yield f"Namespace:\t{meta.get('namespace', '')}"
    yield f"Node:\t{node}"
    if started := status.get("startTime"):
        yield f"Start Time:\t{long_time(started)}"
    yield from label_lines(meta.get("labels", {}))
    yield from annotation_lines(meta.get("annotations", {}))
    if "deletionTimestamp" in meta:
        yield "Status:\tTerminating"
        yield f"Termination Grace Period:\t{spec.get('terminationGracePeriodSeconds', 30)}s"
    else:
        yield f"Status:\t{status.get('phase', 'Unknown')}"
    yield f"IP:\t{status.get('podIP', '')}"
    for owner in meta.get("ownerReferences", ()):
        yield f"Controlled By:\t{owner['kind']}/{owner['name']}"
    yield "Containers:"
    states = {state["name"]: state for state in status.get("containerStatuses", ())}
    for container in spec["containers"]:
        yield f"  {container['name']}:"
        yield from _container_lines(container)
        yield from _state_lines(states.get(container["name"]))
        yield from _environment_lines(container)
    yield from _condition_lines(status.get("conditions", ()), ("Type", "Status"))
    yield f"Volumes:\t{_NONE}"
    yield f"Node-Selectors:\t{_NONE}"
    yield f"Tolerations:\t{_NONE}"


def _state_lines(state: JsonObject | None) -> Iterator[str]:
    if state is None:
        return
    yield from _one_state_lines("State", state["state"])
    if state.get("lastState"):
        yield from _one_state_lines("Last State", state["lastState"])
    yield f"    Ready:\t{state['ready']}"
    yield f"    Restart Count:\t{state['restartCount']}"


def _one_state_lines(title: str, state: JsonObject) -> Iterator[str]:
    for word in ("running", "waiting", "terminated"):
        if word not in state:
            continue
        detail = state[word]
        yield f"    {title}:\t{word.capitalize()}"
        for key, label in (("reason", "Reason"), ("message", "Message")):
            if detail.get(key):
                yield f"      {label}:\t{detail[key]}"
        for key, label in (("startedAt", "Started"), ("finishedAt", "Finished")):
            if detail.get(key):
                yield f"      {label}:\t{long_time(detail[key])}"
