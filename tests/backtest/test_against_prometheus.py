"""A real Prometheus and our own storage must give the same backtest of the same samples."""

from __future__ import annotations

import random
import socket
import subprocess
import urllib.error
import urllib.request

import pytest

from stoker.backtest.reading import read_metrics
from stoker.backtest.server import ask_server
from stoker.clock import pause
from stoker.scaling.settings import ControllerSettings
from stoker.scaling.spec import TriggerSpec

from .conftest import a_spec, walk

pytestmark = pytest.mark.needs("prometheus", "promtool")
START, LENGTH = 1_700_000_000, 1800
QUERIES = ("sum(waiting)", "sum(rate(done_total[1m]))", "waiting > 30")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Two pods with a queue and a counter; one of them goes away for ten minutes."""
    rng = random.Random(4)
    gauges, counters = [], []
    for pod in "ab":
        done = 900  # Prometheus 2 extrapolates towards zero in another way
        for at in range(0, LENGTH, 5):
            if pod == "b" and 600 <= at < 1200:
                continue
            done += rng.randrange(30)
            load = 25 if at < 900 else 2
            gauges.append(f'waiting{{pod="{pod}"}} {rng.randrange(load + 1)} {START + at}.137')
            counters.append(f'done_total{{pod="{pod}"}} {done} {START + at}.137')
    lines = ["# TYPE waiting gauge", *gauges, "# TYPE done counter", *counters, "# EOF", ""]
    path = tmp_path_factory.mktemp("page") / "page.om"
    path.write_text("\n".join(lines))
    return path


@pytest.fixture(scope="module")
def prometheus(page, tmp_path_factory):
    home = tmp_path_factory.mktemp("prometheus")
    importing = ["promtool", "tsdb", "create-blocks-from", "openmetrics", page, home / "data"]
    subprocess.run(importing, check=True, capture_output=True, timeout=30)
    (home / "none.yml").write_text("")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [
        "prometheus",
        f"--config.file={home / 'none.yml'}",
        f"--storage.tsdb.path={home / 'data'}",
        "--storage.tsdb.retention.time=100y",
        f"--web.listen-address={address}",
    ]
    with (
        (home / "log").open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log, cwd=home) as process,
    ):
        try:
            _wait(f"http://{address}/-/ready", process)
            yield f"http://{address}"
        finally:
            process.terminate()


def _wait(url, process):
    for _ in range(200):
        assert process.poll() is None, "prometheus ended"
        try:
            with urllib.request.urlopen(url, timeout=1):  # noqa: S310
                return
        except (urllib.error.URLError, OSError):
            pause(0.1)
    pytest.fail("prometheus is not ready after 20 s")


def test_a_real_server_gives_the_same_backtest(page, prometheus) -> None:
    triggers = tuple(
        TriggerSpec(
            index,
            "prometheus",
            metadata={"serverAddress": "http://x", "query": query, "threshold": "8"},
        )
        for index, query in enumerate(QUERIES)
    )
    spec, end = a_spec(*triggers), START + LENGTH
    asked = ask_server(prometheus, spec, START, end, settings=ControllerSettings())

    def looks(recorded):
        return [
            (t.time, [(r.value, r.error) for r in t.readings], t.decision.replicas)
            for t in walk(spec, recorded, end, start=START)
        ]

    theirs, ours = looks(asked), looks(read_metrics([str(page)]))

    assert len({replicas for *_, replicas in theirs}) > 3
    assert len(theirs) == len(ours) == 181
    for (at, there, size), (_, here, same) in zip(theirs, ours, strict=True):
        assert size == same, at
        for (value, error), (own, own_error) in zip(there, here, strict=True):
            assert error == own_error
            assert value == (None if own is None else pytest.approx(own))
