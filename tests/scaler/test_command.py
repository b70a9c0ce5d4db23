"""`stoker scaler` as a process, asked by Stoker's own `external` trigger with mutual TLS."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("grpc")
trustme = pytest.importorskip("trustme")

from stoker.scaling.spec import TriggerSpec  # noqa: E402
from stoker.triggers.base import TriggerContext  # noqa: E402
from stoker.triggers.connections import Pool  # noqa: E402
from stoker.triggers.external import ExternalTrigger  # noqa: E402

SCALED_OBJECT = """\
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {name: office}
spec:
  scaleTargetRef: {name: llama}
  maxReplicaCount: 5
  triggers:
    - type: cron
      name: hours
      metadata: {timezone: UTC, start: "0 0 1 1 *", end: "59 23 31 12 *", desiredReplicas: "3"}
"""
FORMULA = """\
  advanced:
    scalingModifiers: {formula: "hours * 2.5", target: "2.5", activationTarget: "1"}
"""


def start(directory: Path, text: str, *flags: str) -> tuple[subprocess.Popen[str], str]:
    """The process and what it says until it serves."""
    file = directory / "so.yaml"
    file.write_text(text)
    process = subprocess.Popen(
        [sys.executable, "-m", "stoker", "scaler", str(file), "--port", "0", *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ,
    )
    said = ""
    while line := process.stdout.readline():
        said += line
        if line.startswith("Ctrl-C"):
            break
    return process, said


def run(directory: Path, text: str, *flags: str) -> str:
    """What a process that cannot serve says."""
    process, said = start(directory, text, *flags)
    with process:
        assert process.wait(20) == 2, said
    return said


@pytest.mark.e2e
async def test_scaler_is_asked_by_an_external_trigger_over_mutual_tls(tmp_path):
    authority = trustme.CA()
    server, client = (authority.issue_cert("localhost") for _ in range(2))
    server.private_key_pem.write_to_path(tmp_path / "key")
    server.cert_chain_pems[0].write_to_path(tmp_path / "cert")
    authority.cert_pem.write_to_path(tmp_path / "ca")
    files = ("--tls-cert", "cert"), ("--tls-key", "key"), ("--tls-client-ca", "ca")
    flags = [part for flag, name in files for part in (flag, str(tmp_path / name))]
    process, said = start(tmp_path, SCALED_OBJECT + FORMULA, *flags)
    try:
        assert "scaledObject: office, trigger: composite-metric" in said
        port = re.search(r"scaler +127\.0\.0\.1:(\d+) \(mTLS\)", said)[1]
        pool = Pool()
        auth = {
            "caCert": authority.cert_pem.bytes().decode(),
            "tlsClientCert": client.cert_chain_pems[0].bytes().decode(),
            "tlsClientKey": client.private_key_pem.bytes().decode(),
        }
        context = TriggerContext(lambda _: None, auth=auth, name="mine", pool=pool)
        spec = TriggerSpec(0, "external", {"scalerAddress": f"localhost:{port}"})
        trigger = ExternalTrigger(spec, context)
        (reading,) = await trigger.read_all(0)
        assert (reading.value, reading.target, reading.active) == (7.5, 2.5, True)
        assert reading.metric_name == "s0-office-composite-metric"
        await trigger.close()
        await pool.close()
    finally:
        process.send_signal(signal.SIGTERM)
        with process:
            assert process.wait(20) == 0


@pytest.mark.parametrize(
    ("text", "flags", "words"),
    [
        pytest.param("kind: ScaledObject", (), "error:", id="document"),
        pytest.param(
            SCALED_OBJECT.replace("cron", "nonsense"), (), "no scaler found for type", id="type"
        ),
        pytest.param(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}", (), "no ScaledObject", id="none"
        ),
        pytest.param(SCALED_OBJECT, ("--tls-cert", "x"), "`--tls-key`", id="half a pair"),
        pytest.param(
            SCALED_OBJECT, ("--tls-cert", "nope", "--tls-key", "nope"), "--> nope", id="file"
        ),
    ],
)  # fmt: skip
@pytest.mark.e2e
def test_what_cannot_be_served_is_told(tmp_path, text, flags, words):
    assert words in run(tmp_path, text, *flags)
