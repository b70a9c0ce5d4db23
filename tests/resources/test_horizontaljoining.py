"""HPAs and the workloads that they scale, read together."""

from __future__ import annotations

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: llama}
spec:
  selector: {matchLabels: {app: llama}}
  template:
    metadata: {labels: {app: llama}}
    spec:
      containers:
      - name: vllm
        command: [vllm, serve, m]
"""
HPA = """
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: NAME}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: llama}
  maxReplicas: 4
"""
SCALED_OBJECT = """
---
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {name: so, annotations: {a: b}}
spec:
  scaleTargetRef: {name: llama}
  triggers: [{type: cron, metadata: {timezone: UTC, start: 0 8 * * *, end: 0 9 * * *,
              desiredReplicas: "2"}}]
"""


def hpa(name: str = "own", annotations: str = "") -> str:
    text = HPA.replace("NAME", name)
    return (
        text.replace(f"name: {name}", f"name: {name}, annotations: {annotations}", 1)
        if (annotations)
        else text
    )


def test_an_hpa_scales_its_deployment(bundle) -> None:
    (application,) = bundle(DEPLOYMENT + hpa()).applications

    assert application.scaling is not None
    assert (application.scaling.name, application.scaling.is_hpa) == ("own", True)
    assert application.workload.replicas == 1
    assert application.horizontal is not None
    assert application.scaled_object is None


def test_kedas_own_hpa_beside_its_scaled_object_is_left_to_keda(bundle) -> None:
    own = hpa("keda-hpa-so").replace(
        "name: keda-hpa-so",
        "name: keda-hpa-so, labels: {app.kubernetes.io/managed-by: keda-operator}",
    )

    found = bundle(DEPLOYMENT + SCALED_OBJECT + own)

    (application,) = found.applications
    assert application.scaling is not None
    assert application.scaling.name == "so"
    assert found.skipped == ()


def test_two_hpas_over_the_same_pods_stop_each_other(bundle) -> None:
    found = bundle(DEPLOYMENT + hpa("a") + hpa("b"))

    (application,) = found.applications
    assert application.scaling is not None
    assert application.scaling.ambiguous == (
        "pods by selector app=llama are controlled by multiple HPAs: [{a default} {b default}]"
    )
    assert [item.what for item in found.skipped] == ["HorizontalPodAutoscaler b"]


def test_an_hpa_beside_a_scaled_object_is_refused_as_kedas_webhook_does(faults) -> None:
    ((message, hint),) = faults(DEPLOYMENT + SCALED_OBJECT + hpa())

    assert "is scaled by ScaledObject so, too" in message
    assert "transfer-hpa-ownership" in (hint or "")


def test_keda_takes_over_the_hpa_that_it_is_given(bundle) -> None:
    taking = SCALED_OBJECT.replace(
        "a: b", 'scaledobject.keda.sh/transfer-hpa-ownership: "true"'
    ).replace(
        "  triggers:", "  advanced: {horizontalPodAutoscalerConfig: {name: own}}\n  triggers:"
    )

    found = bundle(DEPLOYMENT + taking + hpa())

    (application,) = found.applications
    assert application.scaling is not None
    assert (application.scaling.name, application.scaling.ambiguous) == ("so", "")
    assert [item.reason for item in found.skipped] == ["KEDA takes it over for ScaledObject so"]


def test_an_hpa_that_the_webhook_is_told_to_overlook_stops_kedas(bundle) -> None:
    found = bundle(
        DEPLOYMENT + SCALED_OBJECT + hpa("own", '{validations.keda.sh/hpa-ownership: "false"}')
    )

    (application,) = found.applications
    assert application.scaling is not None
    assert "[{keda-hpa-so default} {own default}]" in application.scaling.ambiguous


def test_an_hpa_without_its_deployment_is_told(faults) -> None:
    ((message, hint),) = faults(DEPLOYMENT + hpa().replace("name: llama", "name: lllama"))

    assert "the scale target `Deployment lllama` of HPA own is not in these files" in message
    assert hint == "did you mean `llama`?"
