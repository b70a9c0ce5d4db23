"""A Deployment of a vLLM server, and the Workload it becomes."""

from __future__ import annotations

from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from stoker.errors import InputError
from stoker.metrics.monitors import PodPort
from stoker.resources import commandline, huggingface, knownfields
from stoker.resources.document import Manifest, Path
from stoker.resources.environment import Sources, expand, resolve_env
from stoker.resources.metadata import Labels, ObjectMeta
from stoker.resources.quantity import parse_quantity
from stoker.resources.validation import Int32, Model, PartialModel, Text, sift
from stoker.resources.workload import Probe, Workload

_POD = ("spec", "template", "spec")


class EnvVar(Model):
    """One variable. The API server wants text: ``value: 1`` is refused."""

    name: str
    value: str | None = None
    value_from: Any = None


class ContainerPort(PartialModel):
    """One port."""

    container_port: Int32
    name: str | None = None
    others: ClassVar = frozenset({"protocol", "hostPort", "hostIP"})


class HTTPGet(PartialModel):
    """``httpGet`` of a probe."""

    port: int | str
    path: str | None = None
    scheme: Literal["HTTP", "HTTPS"] | None = None
    host: Any = None
    http_headers: Any = None


class PortProbe(PartialModel):
    """``tcpSocket`` or ``grpc`` of a probe."""

    port: int | str
    others: ClassVar = frozenset({"host", "service"})


class ExecProbe(PartialModel):
    """``exec`` of a probe."""

    command: list[Text] | None = None


class ProbeBlock(PartialModel):
    """A probe as written. Durations in whole seconds."""

    http_get: HTTPGet | None = None
    tcp_socket: PortProbe | None = None
    grpc: PortProbe | None = None
    exec: ExecProbe | None = None
    initial_delay_seconds: Annotated[Int32, Field(ge=0)] | None = None
    period_seconds: Annotated[Int32, Field(ge=1)] | None = None
    timeout_seconds: Annotated[Int32, Field(ge=1)] | None = None
    success_threshold: Annotated[Int32, Field(ge=1)] | None = None
    failure_threshold: Annotated[Int32, Field(ge=1)] | None = None
    termination_grace_period_seconds: Int32 | None = None


class Resources(PartialModel):
    """``resources`` of a container."""

    requests: dict[str, Text] | None = None
    limits: dict[str, Text] | None = None
    others: ClassVar = frozenset({"claims"})


class Container(PartialModel):
    """The parts of a container that a machine without Kubernetes can honour."""

    name: str
    image: str | None = None
    command: list[str] | None = None
    args: list[str] | None = None
    env: list[EnvVar] | None = None
    env_from: list[dict[str, Any]] | None = None
    ports: list[ContainerPort] | None = None
    resources: Resources | None = None
    startup_probe: ProbeBlock | None = None
    readiness_probe: ProbeBlock | None = None
    liveness_probe: ProbeBlock | None = None
    others: ClassVar = knownfields.CONTAINER


class PodSpec(PartialModel):
    """The parts of a pod that matter here."""

    containers: Annotated[list[Container], Field(min_length=1)]
    termination_grace_period_seconds: Annotated[Int32, Field(ge=0)] | None = None
    others: ClassVar = knownfields.POD_SPEC


class TemplateMeta(PartialModel):
    """``metadata`` of a pod template."""

    labels: Labels | None = None
    annotations: dict[str, str] | None = None
    others: ClassVar = frozenset({"name", "namespace", "creationTimestamp"})


class PodTemplate(Model):
    """``template``."""

    metadata: TemplateMeta | None = None
    spec: PodSpec


class DeploymentSpec(PartialModel):
    """``spec``."""

    template: PodTemplate
    replicas: Annotated[Int32, Field(ge=0)] | None = None
    others: ClassVar = knownfields.DEPLOYMENT_SPEC


class Deployment(Model):
    """The whole resource."""

    api_version: Literal["apps/v1"]
    kind: Literal["Deployment"]
    metadata: ObjectMeta
    spec: DeploymentSpec
    status: Any = None


class StatefulSetSpec(DeploymentSpec):
    """``spec``. What a StatefulSet has beyond a Deployment is about names, order and volumes."""

    others: ClassVar = knownfields.STATEFUL_SET_SPEC


class StatefulSet(Model):
    """The whole resource. It is run as a Deployment is: pods have no fixed names."""

    api_version: Literal["apps/v1"]
    kind: Literal["StatefulSet"]
    metadata: ObjectMeta
    spec: StatefulSetSpec
    status: Any = None


class UnknownModelError(InputError):
    """A cluster takes the object; here it cannot be run, for nobody says which model it serves."""


def read_deployment(
    manifest: Manifest,
    namespace: str,
    sources: Sources,
    unknown: list[InputError] | None = None,
) -> tuple[Workload | None, tuple[InputError, ...]]:
    """The Workload of a Deployment or a StatefulSet, or what is wrong.

    Neither, if none of its containers runs vLLM.

    Args:
        manifest: the object.
        namespace: of an object that names none.
        sources: the Secrets and ConfigMaps that the files define.
        unknown: gets the fields that nobody knows, which are no errors then.
    """
    resource: Deployment | StatefulSet | None
    if manifest.kind == "StatefulSet":
        resource, errors, others = sift(StatefulSet, manifest.content, manifest.origin)
    else:
        resource, errors, others = sift(Deployment, manifest.content, manifest.origin)
    if unknown is not None:
        unknown.extend(others)
        others = ()
    if resource is None or others:
        return None, (*errors, *others)
    space = resource.metadata.namespace or namespace
    pod = resource.spec.template.spec
    source = huggingface.model_source(manifest.content["spec"]["template"])
    for index, container in enumerate(pod.containers):
        env = _environment(container, sources, space)
        command = _vllm_command(container, env, source)
        if command is None:
            continue
        path = (*_POD, "containers", index)
        names = commandline.served_names(command)
        if not names:
            message = f"container `{container.name}` does not say which model it serves"
            place = manifest.origin.place(path)
            return None, (UnknownModelError(message, hint="vllm serve MODEL ...", place=place),)
        errors = _bad_quantities(container, manifest, (*path, "resources"))
        errors += _bad_scrape_port(resource.spec.template, manifest)
        if errors:
            return None, errors
        return _workload(resource, space, container, command, env, names, manifest), ()
    return None, ()


def _environment(container: Container, sources: Sources, namespace: str) -> dict[str, str]:
    variables = [item.model_dump(by_alias=True) for item in container.env or ()]
    return resolve_env(variables, container.env_from or (), sources, namespace)


def _vllm_command(
    container: Container, env: dict[str, str], source: str | None
) -> tuple[str, ...] | None:
    """The command line of vLLM, None where the container runs something else.

    With a command of its own it is known by the command, otherwise by the image. *source* is where
    the model at KServe's mount comes from.
    """
    command = [expand(word, env) for word in container.command or ()]
    args = [expand(word, env) for word in container.args or ()]
    if not command and huggingface.is_server(container.image):
        return huggingface.vllm_command(args, source)
    whole = commandline.full_command(command, args, env)
    if command:
        is_vllm = commandline.runs_vllm(whole)
    else:
        image = (container.image or "").rsplit(":", 1)[0].rsplit("/", 1)[-1]
        is_vllm = "vllm" in image and "router" not in image
    return huggingface.with_model(whole, source) if is_vllm else None


def _workload(
    resource: Deployment | StatefulSet,
    namespace: str,
    container: Container,
    command: tuple[str, ...],
    env: dict[str, str],
    names: tuple[str, ...],
    manifest: Manifest,
) -> Workload:
    meta, template = resource.metadata, resource.spec.template
    ports = container.ports or []
    declared = ports[0].container_port if ports else commandline.DEFAULT_PORT
    port = commandline.port(command) or declared
    resources = container.resources or Resources()
    requests, limits = resources.requests or {}, resources.limits or {}
    gpu_resource, gpus = _gpus({**requests, **limits})
    grace = template.spec.termination_grace_period_seconds
    of_pods = template.metadata or TemplateMeta()
    named = {item.name: item.container_port for item in ports if item.name}
    return Workload(
        name=meta.name,
        namespace=namespace,
        model=names[0],
        aliases=names[1:],
        command=command,
        port=port,
        replicas=resource.spec.replicas,
        container=container.name,
        image=container.image or "",
        env=MappingProxyType(env),
        labels=MappingProxyType(dict(meta.labels or {})),
        pod_labels=MappingProxyType(dict(of_pods.labels or {})),
        pod_annotations=MappingProxyType(dict(of_pods.annotations or {})),
        ports=_ports(template.spec),
        gpus=gpus,
        gpu_resource=gpu_resource,
        requests=MappingProxyType(requests),
        limits=MappingProxyType(limits),
        startup_probe=_probe(container.startup_probe, port, named),
        readiness_probe=_probe(container.readiness_probe, port, named),
        liveness_probe=_probe(container.liveness_probe, port, named),
        termination_grace_period=30.0 if grace is None else float(grace),
        origin=_file_and_line(manifest),
    )


def _ports(pod: PodSpec) -> tuple[PodPort, ...]:
    return tuple(
        PodPort(port.container_port, port.name or "", container.name)
        for container in pod.containers
        for port in container.ports or ()
    )


def _file_and_line(manifest: Manifest) -> str:
    place = manifest.place()
    return f"{place.file}:{place.line}"


def _gpus(resources: dict[str, str]) -> tuple[str, int]:
    """The resource name of the GPUs and how many. HAMi's shares of one GPU are not counted."""
    for name, text in resources.items():
        short = name.rsplit("/", 1)[-1]
        if "/" in name and (short == "gpu" or short.startswith("mig-")):
            return name, int(parse_quantity(text))
    return "nvidia.com/gpu", 0


def _bad_quantities(container: Container, manifest: Manifest, path: Path) -> tuple[InputError, ...]:
    errors = []
    resources = container.resources or Resources()
    for key, block in (("requests", resources.requests), ("limits", resources.limits)):
        for name, text in (block or {}).items():
            try:
                parse_quantity(text)
            except InputError as error:
                where = (*path, key, name)
                message = f"`{manifest.origin.name(where)}`: {error.message}"
                place = manifest.origin.place(where)
                errors.append(InputError(message, hint=error.hint, place=place))
    return tuple(errors)


def _bad_scrape_port(template: PodTemplate, manifest: Manifest) -> tuple[InputError, ...]:
    key = "prometheus.io/port"
    text = ((template.metadata or TemplateMeta()).annotations or {}).get(key, "")
    if not text or text.isdecimal():
        return ()
    where = ("spec", "template", "metadata", "annotations", key)
    message = f"`{manifest.origin.name(where)}` must be the number of a port, not `{text}`"
    return (InputError(message, place=manifest.origin.place(where)),)


def _probe(block: ProbeBlock | None, port: int, named: dict[str, int]) -> Probe | None:
    """With Kubernetes' defaults; the container's own port is left out of the result."""
    if block is None:
        return None
    http, socket = block.http_get, block.tcp_socket or block.grpc
    command = block.exec.command if block.exec else None
    wanted = http.port if http else socket.port if socket else None
    number = named.get(wanted) if isinstance(wanted, str) else wanted
    if isinstance(wanted, str) and wanted.isdecimal():
        number = int(wanted)
    return Probe(
        path=(http.path or "/") if http else None,
        port=None if number == port else number,
        tcp=socket is not None,
        command=tuple(command) if command else None,
        scheme=(http.scheme or "HTTP") if http else "HTTP",
        initial_delay=float(block.initial_delay_seconds or 0),
        period=float(block.period_seconds or 10),
        timeout=float(block.timeout_seconds or 1),
        success_threshold=block.success_threshold or 1,
        failure_threshold=block.failure_threshold or 3,
    )
