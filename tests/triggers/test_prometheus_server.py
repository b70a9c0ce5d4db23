"""prometheus on a real Prometheus with TLS, client certificates and a password."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from . import servers
from .conftest import Build, Certificates

pytestmark = pytest.mark.needs("prometheus")

PASSWORD = "$2b$04$abcdefghijklmnopqrstuuV3duMsC0HpUex6N9qapiuOHHWkwRXVm"  # bcrypt of hunter2


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, certificate_files: Path) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("prometheus")
    (port,) = servers.free_ports(1)
    (folder / "prometheus.yml").write_text("global: {scrape_interval: 1h}\n")
    (folder / "web.yml").write_text(
        "tls_server_config:\n"
        f"  cert_file: {certificate_files}/server.pem\n"
        f"  key_file: {certificate_files}/server.key\n"
        "  client_auth_type: RequireAndVerifyClientCert\n"
        f"  client_ca_file: {certificate_files}/ca.pem\n"
        f"basic_auth_users: {{me: '{PASSWORD}'}}\n"
    )
    command = [
        "prometheus", f"--config.file={folder}/prometheus.yml",
        f"--web.config.file={folder}/web.yml", f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address=127.0.0.1:{port}",
    ]  # fmt: skip
    with servers.running(command, lambda: servers.accepts(port), log=folder / "log"):
        yield f"https://127.0.0.1:{port}"


async def test_it_is_asked_and_answers(
    address: str, build: Build, certificates: Certificates
) -> None:
    auth = {
        "username": "me",
        "password": "hunter2",
        "ca": certificates.ca,
        "cert": certificates.cert,
        "key": certificates.key,
    }

    async def read(query: str, **more: str) -> tuple[float | None, str | None]:
        trigger = build(
            "prometheus", auth={**auth, **more}, serverAddress=address, query=query,
            threshold="5", authModes="basic,tls",
        )  # fmt: skip
        reading = await trigger.read(1_700_000_000.7)
        return reading.value, reading.error

    assert await read("sum(vector(4) + 3)") == (7.0, None)
    assert await read("nothing") == (0.0, None)
    several = 'label_replace(vector(1), "a", "x", "", "") or vector(2)'
    assert await read(several) == (None, f"prometheus query {several} returned multiple elements")
    refused = await read("scalar(vector(1))")
    assert (refused[1] or "").startswith("json: cannot unmarshal number into Go struct field")
    assert (await read("sum(")) == (None, "prometheus query api returned error. status: 400")
    assert (await read("vector(1)", password="x")) == (
        None, "prometheus query api returned error. status: 401",
    )  # fmt: skip
