"""A run whose triggers fail in all ways, and its secrets: they are nowhere to be found."""

from __future__ import annotations

import base64
import json
import os
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar

import pytest

from .conftest import stoker

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

PASSWORD, TOKEN, KEY = "hunter2/a b", "tok-3n-of-no-one", "k3y-of-an-api"
IN_FILE, IN_ENV = "from-a-json-file", "from-the-environment"
SECRETS = (PASSWORD, TOKEN, KEY, IN_FILE, IN_ENV)
FILES = """\
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
          image: vllm/vllm-openai:v0.9.0
          args: [--model, llama]
          ports: [{name: http, containerPort: 8000}]
---
apiVersion: v1
kind: Secret
metadata: {name: s}
stringData: {password: PASSWORD, token: TOKEN}
data: {key: KEY}
---
apiVersion: keda.sh/v1alpha1
kind: TriggerAuthentication
metadata: {name: ta}
spec:
  secretTargetRef:
    - {parameter: password, name: s, key: password}
    - {parameter: bearerToken, name: s, key: token}
    - {parameter: apiKey, name: s, key: key}
  env: [{parameter: username, name: STOKER_TEST_SECRET}]
---
apiVersion: keda.sh/v1alpha1
kind: ClusterTriggerAuthentication
metadata: {name: cta}
spec: {filePath: keys.json}
---
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {name: llama}
spec:
  scaleTargetRef: {name: llama}
  minReplicaCount: 1
  triggers:
    - {type: redis, metadata: {address: "127.0.0.1:1", listName: q},
       authenticationRef: {name: ta}}
    - {type: rabbitmq, metadata: {host: "amqp://127.0.0.1:1/", queueName: q},
       authenticationRef: {name: ta}}
    - {type: rabbitmq, metadata: {host: "URL/", queueName: q}, authenticationRef: {name: ta}}
    - {type: prometheus, authenticationRef: {name: ta},
       metadata: {serverAddress: URL, query: q, threshold: "1", authModes: bearer}}
    - {type: metrics-api, authenticationRef: {name: ta},
       metadata: {url: "URL/m", valueLocation: a, targetValue: "1", authMode: apiKey,
                  method: query}}
    - {type: prometheus, authenticationRef: {name: cta, kind: ClusterTriggerAuthentication},
       metadata: {serverAddress: "URL", query: q, threshold: "1", authModes: basic}}
    - {type: external, metadata: {scalerAddress: "127.0.0.1:1"}, authenticationRef: {name: ta}}
"""


class Echo(BaseHTTPRequestHandler):
    """Says no, and repeats everything that it was sent."""

    seen: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        told = f"{self.path}\n{self.headers}"
        Echo.seen.append(told)
        self.send_response(401, "no")
        self.end_headers()
        self.wfile.write(told.encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def echo() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Echo)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def forms(secret: str) -> set[str]:
    """A secret as it may be written."""
    encoded = base64.b64encode(secret.encode()).decode()
    return {secret, encoded, secret.replace("/", "%2F").replace(" ", "%20")}


def process_lists() -> str:
    """Command lines of all processes."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"))
        except OSError:
            continue
    return "\n".join(found)


def test_no_secret_is_shown_anywhere(up, tmp_path, monkeypatch, echo) -> None:
    monkeypatch.setenv("STOKER_TEST_SECRET", IN_ENV)
    keys = {"username": "me", "password": IN_FILE}
    (tmp_path / "keys.json").write_text(json.dumps(keys))
    text = FILES.replace("PASSWORD", json.dumps(PASSWORD)).replace("TOKEN", TOKEN)
    text = text.replace("KEY", base64.b64encode(KEY.encode()).decode()).replace("URL", echo)

    run = up(text)
    run.until(
        lambda: all(one["status"].get("errors", 0) > 1 for one in run.objects("triggers")),
        "every trigger has failed twice",
    )

    state = f"--state-dir={run.state_dir}"
    kinds = "so,hpa,deploy,pods,events,triggers,ta,cta"
    shown = {"processes": process_lists(), "up": run.log.read_text()}
    for command in (
        ["get", kinds, "-o", "yaml"],
        ["get", kinds, "-o", "json"],
        ["get", "triggers", "-o", "wide"],
        ["describe", "so", "llama"],
        ["explain", "llama"],
        ["explain", "llama", "-o", "json"],
    ):
        done = stoker(*command, state)
        assert done.returncode == 0, done.stderr
        shown[" ".join(command)] = done.stdout + done.stderr
    # `render` is left out: it prints the user's own documents, as `helm template` does
    done = stoker("check", str(tmp_path / "values.yaml"))
    shown["check"] = done.stdout + done.stderr
    prometheus = run.client.overview()["prometheus_url"]
    with urllib.request.urlopen(f"{prometheus}/metrics") as page:  # noqa: S310 - our own
        shown["/metrics"] = page.read().decode()
    for path in run.state_dir.rglob("*"):
        if path.is_file():
            shown[str(path)] = path.read_text(errors="replace")

    assert len(shown) > 12
    assert "keda_scaler_detail_errors_total" in shown["/metrics"]
    assert "401" in shown["explain llama"]
    for where, content in shown.items():
        for secret in SECRETS:
            for form in forms(secret):
                assert form not in content, f"{form} is in {where}"
    # and they were used: otherwise nothing would have been proved
    sent = "\n".join(Echo.seen)
    assert f"Bearer {TOKEN}" in sent
    assert f"api_key={KEY}" in sent
    assert base64.b64encode(f"me:{IN_FILE}".encode()).decode() in sent
    assert base64.b64encode(f"{IN_ENV}:{PASSWORD}".encode()).decode() in sent
    assert os.environ["STOKER_TEST_SECRET"] == IN_ENV
