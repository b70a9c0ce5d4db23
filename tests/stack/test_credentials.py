"""What a trigger of a file is built from: secrets, and the variables of the right container."""

from __future__ import annotations

import io
from typing import Any

import pytest

from stoker.errors import InputError, InputErrors
from stoker.resources import Bundle, load
from stoker.scaling.spec import TriggerSpec
from stoker.stack.autoscaling import check_triggers
from stoker.stack.credentials import authentication_of, contexts, credential_notices
from stoker.triggers.base import TriggerContext

FILES = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: llama, namespace: models}
spec:
  selector: {matchLabels: {app: llama}}
  template:
    metadata: {labels: {app: llama}}
    spec:
      containers:
        - name: proxy
          image: nginx
          env: [{name: OF_PROXY, value: p}]
          envFrom: [{secretRef: {name: s}}]
        - name: vllm
          image: vllm/vllm-openai:v0.9.0
          args: [--model, llama]
          env: [{name: OF_VLLM, valueFrom: {secretKeyRef: {name: s, key: password}}}]
---
apiVersion: v1
kind: Secret
metadata: {name: s, namespace: models}
stringData: {password: hunter2}
---
apiVersion: keda.sh/v1alpha1
kind: TriggerAuthentication
metadata: {name: ta, namespace: NAMESPACE}
spec:
  secretTargetRef: [{parameter: password, name: s, key: KEY}]
  env: [{parameter: username, name: OF_VLLM, containerName: vllm}]
---
apiVersion: keda.sh/v1alpha1
kind: ClusterTriggerAuthentication
metadata: {name: cta}
spec: {podIdentity: {provider: aws}}
---
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {name: llama, namespace: models}
spec:
  scaleTargetRef: {name: llama SOURCE}
  triggers:
    - {type: redis, metadata: {address: "h:1", listName: q}, authenticationRef: {REF}}
"""


def read(**marks: str) -> Bundle:
    text = FILES
    known = {"NAMESPACE": "models", "KEY": "password", "SOURCE": "", "REF": "name: ta", **marks}
    for mark, value in known.items():
        text = text.replace(mark, value)
    return load(["-"], stdin=io.StringIO(text))


def context_of(bundle: Bundle) -> TriggerContext:
    (application,) = bundle.applications
    assert application.scaling is not None
    base = TriggerContext(lambda _: None)
    return contexts(base, application.scaling, application, bundle)(application.scaling.triggers[0])


def notices(bundle: Bundle) -> list[str]:
    (application,) = bundle.applications
    assert application.scaling is not None
    return credential_notices(application.scaling, application, bundle)


def test_parameters_come_from_the_authentication_of_the_same_namespace() -> None:
    bundle = read()

    assert context_of(bundle).auth == {"password": "hunter2", "username": "hunter2"}
    assert notices(bundle) == []


def test_of_another_namespace_it_is_not_there_and_the_trigger_goes_without() -> None:
    bundle = read(NAMESPACE="other")

    assert context_of(bundle).auth == {}
    (sentence,) = notices(bundle)
    assert "TriggerAuthentication ta, which is not in these files" in sentence
    check_triggers(bundle)


def test_a_key_that_the_secret_has_not_is_told() -> None:
    bundle = read(KEY="pass")

    assert context_of(bundle).auth["password"] == ""
    assert notices(bundle) == ["TriggerAuthentication ta: no Secret s with `pass`, for `password`"]


@pytest.mark.parametrize(
    ("source", "name", "value"),
    [
        ("", "OF_PROXY", "p"),
        ("", "password", "hunter2"),
        (", envSourceContainerName: vllm", "OF_VLLM", "hunter2"),
        (", envSourceContainerName: vllm", "OF_PROXY", None),
        ("", "OF_MINE", "mine"),
    ],
)
def test_variables_are_those_of_the_first_container_or_of_the_one_that_is_named(
    monkeypatch: Any, source: str, name: str, value: str | None
) -> None:
    monkeypatch.setenv("OF_MINE", "mine")

    assert context_of(read(SOURCE=source)).env.get(name) == value


def test_an_identity_of_a_cloud_is_refused_with_its_place() -> None:
    bundle = read(REF="name: cta, kind: ClusterTriggerAuthentication")
    trigger = TriggerSpec(
        0, "redis", authentication_ref="cta", authentication_kind="ClusterTriggerAuthentication"
    )
    scaling = bundle.applications[0].scaling
    assert scaling is not None
    assert authentication_of(trigger, scaling, bundle) is not None
    with pytest.raises(InputErrors) as caught:
        check_triggers(bundle)
    (error,) = caught.value.errors
    assert isinstance(error, InputError)
    assert "is not on one machine" in error.message
    assert str(error.place) == "<stdin>:34:8"


def test_the_bundle_does_not_show_what_its_secrets_hold() -> None:
    assert "hunter2" not in repr(read())
