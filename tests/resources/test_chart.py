"""Values of the production-stack chart: what is rendered, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stoker.metrics.monitors import PodFacts, scrapes
from stoker.resources import Bundle, Probe, load

MODEL = """
servingEngineSpec:
  modelSpec:
    - name: llama3
      repository: vllm/vllm-openai
      tag: v1
      modelURL: meta/llama
      requestCPU: 10
      requestMemory: 64Gi
"""
KEDA = MODEL + "      keda:\n        enabled: true\n"
Load = Callable[..., Bundle]
Faults = Callable[[str], list[tuple[str, str | None]]]


def more(text: str, *lines: str) -> str:
    """The text and further lines of the model."""
    return text + "".join(f"      {line}\n" for line in lines)


def test_names_labels_and_defaults_are_those_of_the_chart(bundle: Load) -> None:
    (application,) = bundle(KEDA, release="prod", namespace="llm").applications
    workload, scaling = application.workload, application.scaling
    assert scaling is not None
    assert workload.name == "prod-llama3-deployment-vllm"
    assert scaling.name == "prod-llama3-scaledobject"
    assert scaling.hpa_name == "keda-hpa-prod-llama3-scaledobject"
    assert scaling.target.name == workload.name
    assert scaling.namespace == workload.namespace == "llm"
    assert list(workload.labels.items()) == [
        ("model", "llama3"),
        ("helm-release-name", "prod"),
        ("app.kubernetes.io/name", "llama3"),
        ("app.kubernetes.io/instance", "prod"),
        ("app.kubernetes.io/component", "serving-engine"),
        ("app.kubernetes.io/part-of", "vllm-stack"),
        ("app.kubernetes.io/managed-by", "helm"),
        ("environment", "test"),
        ("release", "test"),
    ]
    assert dict(scaling.labels) == dict(workload.labels)
    assert workload.startup_probe == Probe(initial_delay=15, period=10, failure_threshold=60)
    assert workload.readiness_probe == Probe(initial_delay=15, period=5)
    assert workload.liveness_probe == Probe(initial_delay=15, period=10)
    assert workload.termination_grace_period == 30


def test_without_triggers_the_chart_writes_its_own(bundle: Load) -> None:
    scaling = bundle(KEDA).applications[0].scaling
    assert scaling is not None
    (trigger,) = scaling.triggers
    assert trigger.metadata["query"] == 'vllm:num_requests_waiting{model="llama3"}'
    assert trigger.metadata["threshold"] == "5"
    assert scaling.min_replica_count is None


def test_keda_owns_the_number_of_replicas(bundle: Load) -> None:
    text = more(MODEL, "replicaCount: 3", "keda: {enabled: true}")
    application = bundle(text).applications[0]
    assert application.workload.replicas is None
    assert "replicas" not in application.deployment.content["spec"]


@pytest.mark.parametrize("keda", [[], ["keda: {enabled: false, minReplicaCount: 2}"]])
def test_without_keda_the_number_is_fixed(bundle: Load, keda: list[str]) -> None:
    application = bundle(more(MODEL, 'replicaCount: "3"', *keda)).applications[0]
    assert application.workload.replicas == 3
    assert application.scaling is None


def test_arguments_come_in_the_order_of_the_template(bundle: Load) -> None:
    text = more(
        MODEL,
        "enableLoRA: true",
        "enableTool: true",
        "toolCallParser: llama3_json",
        "modelRevision: abc",
        "chatTemplate: chat.jinja",
        "lmcacheConfig: {enabled: true}",
        "vllmConfig: {maxLoras: 4, gpuMemoryUtilization: 0.9, maxNumSeqs: 32, dtype: half,",
        "  tensorParallelSize: 2, maxModelLen: 131072, enableChunkedPrefill: false,",
        "  runner: pooling, convert: embed, extraArgs: [--seed, 7]}",
    )
    assert bundle(text).applications[0].workload.command == (
        "vllm", "serve", "meta/llama", "--host", "0.0.0.0", "--port", "8000", "--enable-lora",
        "--enable-auto-tool-choice", "--tool-call-parser", "llama3_json",
        "--no-enable-chunked-prefill", "--no-enable-prefix-caching", "--max-model-len", "131072",
        "--dtype", "half", "--tensor-parallel-size", "2", "--max-num-seqs", "32",
        "--gpu_memory_utilization", "0.9", "--max_loras", "4", "--runner", "pooling",
        "--convert", "embed", "--seed", "7", "--revision", "abc",
        "--kv-transfer-config", '{"kv_connector":"LMCacheConnectorV1","kv_role":"kv_both"}',
        "--chat-template", "/templates/chat.jinja",
    )  # fmt: skip


def test_without_vllm_config_no_cache_argument_is_given(bundle: Load) -> None:
    command = bundle(MODEL).applications[0].workload.command
    assert command == ("vllm", "serve", "meta/llama", "--host", "0.0.0.0", "--port", "8000")


def test_the_lmcache_image_has_its_own_vllm(bundle: Load) -> None:
    text = MODEL.replace("vllm/vllm-openai", "lmcache/vllm-openai")
    assert bundle(text).applications[0].workload.command[0] == "/opt/venv/bin/vllm"


def test_the_served_name_is_what_requests_carry(bundle: Load) -> None:
    assert bundle(MODEL).applications[0].workload.model == "meta/llama"
    text = more(MODEL, "vllmConfig: {extraArgs: [--served-model-name, big, small, --seed, 1]}")
    workload = bundle(text).applications[0].workload
    assert (workload.model, workload.aliases) == ("big", ("small",))
    text = more(MODEL, "vllmConfig: {extraArgs: [--served-model-name=one]}")
    assert bundle(text).applications[0].workload.model == "one"


def test_variables_of_the_model_win_over_those_of_all_engines(bundle: Load) -> None:
    text = more(
        MODEL,
        "hf_token: secret",
        "vllmConfig: {enablePrefixCaching: true}",
        "env: [{name: A, value: own}, {name: C, value: $(A)-$(NONE)}]",
    )
    text += "  env: [{name: A, value: shared}, {name: B, value: shared}]\n  configs: {D: 1}\n"
    assert dict(bundle(text).applications[0].workload.env) == {
        "PYTHONHASHSEED": "123",
        "HF_HOME": "/tmp",  # noqa: S108
        "POD_IP": "127.0.0.1",
        "PROMETHEUS_MULTIPROC_DIR": "/tmp",  # noqa: S108
        "HF_TOKEN": "secret",
        "A": "own",
        "B": "shared",
        "C": "own-$(NONE)",
        "D": "1",
    }


def test_gpus_are_counted_by_their_resource(bundle: Load) -> None:
    text = more(MODEL, 'requestGPU: "2"', "requestGPUType: nvidia.com/mig-1g.10gb", "limitCPU: 12")
    workload = bundle(text).applications[0].workload
    assert (workload.gpus, workload.gpu_resource) == (2, "nvidia.com/mig-1g.10gb")
    assert workload.requests["cpu"] == "10"
    assert dict(workload.limits) == {"cpu": "12", "nvidia.com/mig-1g.10gb": "2"}


def test_probes_are_merged_with_the_charts_and_null_removes_one(bundle: Load) -> None:
    text = MODEL + "  startupProbe: {failureThreshold: 5, httpGet: {path: /ready}}\n"
    text += "  livenessProbe: null\n  readinessProbe: {tcpSocket: {port: 9000}}\n"
    workload = bundle(text).applications[0].workload
    expected = Probe(path="/ready", initial_delay=15, period=10, failure_threshold=5)
    assert workload.startup_probe == expected
    assert workload.liveness_probe is None
    assert workload.readiness_probe == Probe(
        path=None, tcp=True, port=9000, initial_delay=15, period=5
    )


def test_a_ray_spec_suppresses_the_scaled_object_whatever_is_in_it(bundle: Load) -> None:
    application = bundle(more(KEDA, "raySpec: {enabled: false}")).applications[0]
    assert application.scaling is None


def test_models_that_are_not_rendered_are_named(bundle: Load) -> None:
    text = (
        MODEL + KEDA.split("modelSpec:\n")[1].replace("llama3", "spare") + "      enabled: false\n"
    )
    skipped = bundle(text).skipped
    assert [(item.what, "no target" in item.reason) for item in skipped] == [("model spare", True)]


def test_several_models_are_several_applications(bundle: Load) -> None:
    text = MODEL + MODEL.split("modelSpec:\n")[1].replace("llama3", "phi")
    names = [application.workload.name for application in bundle(text).applications]
    assert names == ["vllm-llama3-deployment-vllm", "vllm-phi-deployment-vllm"]


def test_all_faults_of_all_models_are_told_at_once_with_their_places(faults: Faults) -> None:
    text = """\
servingEngineSpec:
  modelSpecs: []
  modelSpec:
    - name: a
      repository: vllm/vllm-openai
      tag: v1
      replicaCount: two
      requestMemory: 64Gb
      keda: {enabled: true, pollingInterval: 15s}
    - name: a
      repository: vllm/vllm-openai
      tag: v1
      modelURL: x
      requestCPU: 1
      requestMemory: 1Gi
      keda:
        enabled: true
        minReplicas: 1
        triggers: {type: prometheus}
"""
    at = "servingEngineSpec.modelSpec"
    assert faults(text) == [
        (f"<stdin>:4:7: `{at}[0].modelURL` is required", None),
        (
            f"<stdin>:4:7: `{at}[0].requestCPU` is required",
            "the chart refuses a model without it; a number of CPUs, such as 8",
        ),
        (f'<stdin>:7:21: `{at}[0].replicaCount` must be an integer, not the text "two"', None),
        (
            (
                f"<stdin>:8:22: `{at}[0].requestMemory` must be a quantity such as `2`, `500m` or "
                "`64Gi`: '64Gb' is not a quantity"
            ),
            None,
        ),
        (
            f'<stdin>:9:46: `{at}[0].keda.pollingInterval` must be an integer, not the text "15s"',
            None,
        ),
        ("<stdin>:10:13: two models have the name `a`", "the other is at <stdin>:4:13"),
        (
            f"<stdin>:19:19: `{at}[1].keda.triggers` must be a list, not a mapping",
            "begin each item with `- `",
        ),
    ]


def test_triggers_as_a_map_are_refused_with_the_way_out(faults: Faults) -> None:
    text = more(KEDA, "  triggers: {type: prometheus}")
    assert faults(text) == [
        (
            (
                "<stdin>:12:19: `servingEngineSpec.modelSpec[0].keda.triggers` must be a list, "
                "not a mapping"
            ),
            "begin each item with `- `",
        )
    ]


def test_a_name_that_kubernetes_refuses_is_told_once(faults: Faults) -> None:
    (fault,) = faults(KEDA.replace("llama3", "Llama_3"))
    assert fault[0].startswith("<stdin>:4:13: `servingEngineSpec.modelSpec[0].name` must be lower")


@pytest.mark.parametrize(
    "text",
    ["routerSpec: {replicaCount: 2, routingLogic: session}", "kube-prometheus-stack: {enabled: 1}"],
)
def test_keys_of_the_chart_that_do_not_concern_us_are_accepted(bundle: Load, text: str) -> None:
    assert bundle(MODEL + text + "\n").applications


def test_the_tutorials_file_is_rendered_as_the_chart_does() -> None:
    file = Path(__file__).parents[2] / "examples" / "01-production-stack" / "as-published.yaml"
    objects = {one.kind: one.content for one in load([str(file)]).objects}
    deployment, scaled_object = objects["Deployment"], objects["ScaledObject"]
    assert list(deployment["spec"]) == [
        "strategy",
        "selector",
        "progressDeadlineSeconds",
        "template",
    ]
    assert list(scaled_object["spec"]) == [
        "scaleTargetRef",
        "minReplicaCount",
        "maxReplicaCount",
        "pollingInterval",
        "cooldownPeriod",
        "triggers",
    ]
    assert scaled_object["spec"]["scaleTargetRef"] == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "name": "vllm-llama3-deployment-vllm",
    }
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["resources"] == {
        "requests": {"memory": "64Gi", "cpu": "10", "nvidia.com/gpu": "1"},
        "limits": {"nvidia.com/gpu": "1"},
    }


def test_names_that_the_chart_does_not_know_are_told_not_refused(bundle: Load) -> None:
    text = more(KEDA, "  minReplicas: 1", "vllmconfig: {maxModelLen: 1}") + "routerSpecs: {}\n"
    found = bundle(text)
    assert [(one.place.line, one.message, one.fix, one.about) for one in found.ignored] == [
        (
            12,
            "unknown field `minReplicas` in `servingEngineSpec.modelSpec[0].keda`",
            "did you mean `minReplicaCount`?",
            "model llama3",
        ),
        (
            13,
            "unknown field `vllmconfig` in `servingEngineSpec.modelSpec[0]`",
            "did you mean `vllmConfig`?",
            "model llama3",
        ),
        (14, "unknown field `routerSpecs`", "did you mean `routerSpec`?", "Helm values"),
    ]
    assert len(found.applications) == 1


def test_values_without_models_say_what_was_meant(faults: Faults) -> None:
    ((message, hint),) = faults("servingEngineSpec:\n  modelSpecs: []\n")
    assert message == "-: no model server in these files"
    assert hint == "unknown field `modelSpecs` in `servingEngineSpec`, did you mean `modelSpec`?"


def objects(bundle: Bundle, kind: str) -> list[dict[str, Any]]:
    """The objects of a kind."""
    return [dict(one.content) for one in bundle.objects if one.kind == kind]


def test_every_model_has_a_service(bundle: Load) -> None:
    (service,) = objects(bundle(KEDA, release="r", namespace="llm"), "Service")
    assert service["metadata"]["name"] == "r-llama3-engine-service"
    assert service["metadata"]["labels"]["app.kubernetes.io/component"] == "serving-engine"
    assert service["spec"]["selector"] == {"model": "llama3", "helm-release-name": "r"}
    port = service["spec"]["ports"][0]
    assert (port["name"], port["port"], port["targetPort"]) == (
        "service-port",
        80,
        "container-port",
    )


def test_the_charts_monitor_scrapes_the_replicas_when_it_is_enabled(bundle: Load) -> None:
    assert bundle(KEDA).monitors == ()
    text = KEDA + "  serviceMonitor: {enabled: true, interval: 15s, scrapeTimeout: 5s}\n"
    found = bundle(text, release="r")
    (placed,) = found.monitors
    assert str(placed) == "ServiceMonitor r-engine-servicemonitor"
    workload = found.applications[0].workload
    pod = PodFacts("p", "default", "127.0.0.1", workload.ports, workload.pod_labels)
    (scrape,) = scrapes(placed.monitor, pod, found.services)
    assert (scrape.interval, scrape.timeout) == (15, 5)
    assert scrape.labels.get("job") == "r-llama3-engine-service"
    assert scrape.url == "http://127.0.0.1:8000/metrics"


def test_tokens_in_values_become_the_secret_of_the_release(bundle: Load) -> None:
    found = bundle(more(MODEL, "hf_token: abc") + "  configs: {A: b}\n", release="r")
    (secret,) = objects(found, "Secret")
    assert secret["metadata"]["name"] == "r-secrets"
    assert secret["data"] == {"hf_token_llama3": "YWJj"}
    (config,) = objects(found, "ConfigMap")
    assert config["data"] == {"A": "b"}
    assert dict(found.applications[0].workload.env)["HF_TOKEN"] == "abc"


def test_a_secret_beside_the_values_is_read(bundle: Load) -> None:
    secret = "---\napiVersion: v1\nkind: Secret\nmetadata: {name: hf}\nstringData: {token: abc}\n"
    text = more(MODEL, "hf_token: {secretName: hf, secretKey: token}") + secret
    assert dict(bundle(text).applications[0].workload.env)["HF_TOKEN"] == "abc"
