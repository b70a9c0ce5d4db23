"""Queries asked of something that runs: a metrics page, and a real Prometheus."""

from __future__ import annotations

import io
import socket
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import yaml

from stoker import cli
from stoker.checks import Finding, Source, examine
from stoker.checks.examining import Selection
from stoker.checks.registry import LIVE
from stoker.cli.console import run
from stoker.cli.query_sources import Page, Server
from stoker.clock import pause, wall_time
from stoker.resources import inspect

PAGE = """\
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{model_name="llama",engine="0",pod="a"} 3
vllm:num_requests_waiting{model_name="llama",engine="0",pod="b"} 4
# TYPE nothing gauge
nothing NaN
# TYPE latency_ms gauge
latency_ms 90000
"""
NOW = 1_700_000_000.0
GOOD = 'sum(vllm:num_requests_waiting{model_name="llama"})'


def document(query: str, **spec: object) -> str:
    metadata = {"serverAddress": "http://p:9090", "query": query, "threshold": "5"}
    return yaml.safe_dump(
        {
            "apiVersion": "keda.sh/v1alpha1",
            "kind": "ScaledObject",
            "metadata": {"name": "so"},
            "spec": {
                "scaleTargetRef": {"name": "engine"},
                "minReplicaCount": 1,
                "maxReplicaCount": 8,
                **spec,
                "triggers": [{"type": "prometheus", "metadata": metadata}],
            },
        }
    )


def found(query: str, source: Source, **spec: object) -> list[Finding]:
    reading = inspect(["-"], stdin=io.StringIO(document(query, **spec)))
    selection = Selection(select=frozenset(LIVE))
    return list(examine(reading, selection, live=source))


@pytest.fixture
def page() -> Source:
    asked = Page("page", PAGE, NOW)
    return Source("page", lambda query: asked.instant(query, NOW), NOW, is_page=True)


def test_one_number_in_range_is_no_finding(page: Source) -> None:
    assert found(GOOD, page) == []


@pytest.mark.parametrize(
    ("query", "code", "told"),
    [
        (GOOD.replace("sum", ""), "live-several-elements", 'pod="a"'),
        (
            "sum(vllm:num_requests_w)",
            "live-empty-result",
            "no series vllm:num_requests_w",
        ),
        (GOOD.replace("llama", "lamb"), "live-empty-result", 'it has model_name="llama"'),
        (GOOD.replace("model_name", "model"), "live-empty-result", "it has no label model"),
        (
            GOOD.replace("}", ',pod="a",engine=~"0"}').replace('engine=~"0"', 'pod="b"'),
            "live-empty-result",
            "all conditions",
        ),
        ("nothing", "live-not-a-number", "nan"),
        ("max(latency_ms)", "live-value-cannot-be-meant", "90000"),
    ],
)
def test_an_answer_that_cannot_work_is_told(page: Source, query: str, code: str, told: str) -> None:
    (finding,) = found(query, page)
    assert finding.code == code
    assert told in finding.message
    assert finding.place.line is not None


def test_a_page_has_no_rates_and_its_selectors_are_asked_all_the_same(page: Source) -> None:
    rate = 'sum(rate(vllm:num_requests_waiting{model_name="llama"}[1m]))'
    assert found(rate, page) == []
    (finding,) = found(rate.replace("llama", "lamb"), page)
    assert finding.code == "live-empty-result"


def test_no_metrics_of_engines_at_zero_is_no_error(page: Source) -> None:
    (finding,) = found("sum(vllm:num_requests_running)", page, minReplicaCount=0)
    assert (finding.code, finding.severity) == ("live-empty-result", "info")


@pytest.fixture
def exporter() -> Iterator[str]:
    """The address of something that exports the page."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            is_page = self.path == "/metrics"
            self.send_response(200 if is_page else 404)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(PAGE.encode() if is_page else b"")

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def stoker(*arguments: str) -> int:
    return run(lambda: cli.stoker.main(list(arguments), prog_name="stoker", standalone_mode=False))


def test_the_command_asks_the_page_of_an_engine(
    exporter: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "so.yaml"
    file.write_text(document(GOOD.replace("llama", "lamb")))
    assert stoker("check", str(file), "--live", f"http://{exporter}/metrics") == 1
    assert 'it has model_name="llama"' in capsys.readouterr().out
    file.write_text(document(GOOD))
    assert stoker("check", str(file), "--live", f"http://{exporter}/metrics") == 0


def test_nobody_there_is_an_error_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as taken:  # bound, and nobody listens
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        file = tmp_path / "so.yaml"
        file.write_text(document(GOOD))
        for url in (address, f"http://{address}/metrics"):
            assert stoker("check", str(file), "--live", url) == 2
            told = capsys.readouterr().err
            assert "no answer from" in told
            assert "--file" not in told  # a flag of another command


@pytest.fixture
def prometheus(exporter: str, tmp_path: Path) -> Iterator[str]:
    """A real Prometheus that scrapes the page every 200 ms."""
    config = {
        "global": {"scrape_interval": "200ms", "scrape_timeout": "200ms"},
        "scrape_configs": [{"job_name": "e", "static_configs": [{"targets": [exporter]}]}],
    }
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [
        "prometheus",
        f"--config.file={tmp_path / 'prometheus.yml'}",
        f"--storage.tsdb.path={tmp_path / 'data'}",
        f"--web.listen-address={address}",
    ]
    with (
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log, cwd=tmp_path) as process,
    ):
        try:
            _wait(f"http://{address}", process)
            yield f"http://{address}"
        finally:
            process.terminate()


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(200):
        assert process.poll() is None, "prometheus ended"
        try:
            with urllib.request.urlopen(f"{url}/api/v1/query?query=nothing") as answer:  # noqa: S310
                if b'"metric"' in answer.read():
                    return
        except (urllib.error.URLError, OSError):
            pass
        pause(0.1)
    pytest.fail("prometheus has no sample after 20 s")


@pytest.mark.needs("prometheus")
@pytest.mark.timeout(60)
def test_a_real_prometheus_answers_as_the_page_does(prometheus: str) -> None:
    now = wall_time()
    server = Server(prometheus)
    source = Source(prometheus, lambda query: server.instant(query, now), now)
    later = Source(prometheus, lambda query: server.instant(query, now), now + 200)

    assert found(GOOD, source) == []
    (several,) = found(GOOD.replace("sum", ""), source)
    assert several.code == "live-several-elements"
    assert 'pod="a"' in several.message
    (empty,) = found(GOOD.replace("llama", "lamb"), source)
    assert (empty.code, empty.severity) == ("live-empty-result", "error")
    assert 'it has model_name="llama"' in empty.message
    assert [finding.code for finding in found("nothing", source)] == ["live-not-a-number"]
    refused = found("label_replace(up, 'a b', '$1', 'job', '(')", source)
    assert [finding.code for finding in refused] == ["live-query-fails"]
    (stale,) = found(GOOD, later)
    assert stale.code == "live-stale"
