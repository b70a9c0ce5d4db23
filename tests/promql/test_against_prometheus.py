"""The same questions to a real Prometheus and to ours must have the same answers.

Debian's Prometheus is 2.42. What has changed since is kept out of the questions: windows were
closed on the left (no sample lies on the border of a window here), rate() compared the way to zero
with the extrapolation threshold (counters are never that close to zero), atan2 kept the metric
name. The parts of a date of NaN or Inf depend on the processor there and are NaN here.
"""

from __future__ import annotations

import json
import math
import random
import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stoker.api.prometheus_wire import value_json
from stoker.clock import pause
from stoker.errors import QueryError
from stoker.metrics.sample import METRIC_NAME, Labels, format_value
from stoker.metrics.storage import Storage
from stoker.promql.engine import instant, range_
from stoker.promql.value import Value

BASE = 1_700_000_000
LENGTH = 900
SHIFT = 0.137  # no sample on the border of a window
MOMENTS = (BASE + 401.5, BASE + 611.5, BASE + 899.5, BASE + 1150.5)
QUERIES = [
    line
    for line in (Path(__file__).parent / "oracle_queries.txt").read_text().splitlines()
    if line and not line.startswith("#")
]

pytestmark = pytest.mark.needs("prometheus", "promtool")

Samples = list[tuple[Labels, float, float]]


def named(name: str, **labels: str) -> Labels:
    return Labels({METRIC_NAME: name, **labels})


def counter(rng: random.Random, labels: Labels, *, reset: float = 0.0, start: float = 50.0):
    value = start
    for step in range(0, LENGTH, 5):
        value = start if rng.random() < reset else value + rng.randrange(20)
        yield labels, BASE + step + SHIFT, float(value)


def gauge(rng: random.Random, labels: Labels, *, missing: float = 0.0, step: int = 5):
    for at in range(0, LENGTH, step):
        value = rng.randrange(0, 400) / 8
        if rng.random() >= missing:
            yield labels, BASE + at + SHIFT, value


def histogram(rng: random.Random, name: str, *, broken: bool = False, **labels: str):
    bounds = ["0.1", "0.5", "1", "2.5", "+Inf"]
    counts = [300.0 + 100 * i for i in range(len(bounds))]
    total = 100.0
    for at in range(0, LENGTH, 5):
        seen = [rng.randrange(most) for most in (8, 20, 9, 5, 2)]
        for i, bound in enumerate(bounds):
            counts[i] += sum(seen[: i + 1])
            value = counts[i] - (130 if broken and i == 2 else 0)
            yield named(f"{name}_bucket", le=bound, **labels), BASE + at + SHIFT, value
        total += sum(seen)
        yield named(f"{name}_count", **labels), BASE + at + SHIFT, counts[-1]
        yield named(f"{name}_sum", **labels), BASE + at + SHIFT, total


def generated() -> Samples:
    rng = random.Random(7)
    samples: Samples = []
    for job in ("api", "web"):
        for instance in ("a", "b", "ab"):
            where = {"job": job, "instance": instance}
            samples += counter(rng, named("requests_total", **where), start=500.0)
            samples += counter(rng, named("errors_total", code="500", **where), start=300.0)
            samples += gauge(rng, named("temperature", **where))
        samples += histogram(rng, "latency", job=job)
    samples += counter(rng, named("resetting_total", job="api"), reset=0.04, start=400.0)
    samples += gauge(rng, named("holes", job="api"), missing=0.6)
    samples += gauge(rng, named("sparse", job="api"), step=110)
    samples += histogram(rng, "broken", broken=True, job="api")
    for instance, rack in (("a", "r1"), ("b", "r2"), ("ab", "r1")):
        labels = named("machine_info", instance=instance, rack=rack)
        samples += [(labels, BASE + at + SHIFT, 1.0) for at in range(0, LENGTH, 5)]
    for kind, value in (("nan", math.nan), ("inf", math.inf), ("low", -math.inf), ("zero", 0.0)):
        labels = named("specials", kind=kind)
        samples += [(labels, BASE + at + SHIFT, value) for at in range(0, LENGTH, 10)]
    for pod in ("p1", "p2", "p3"):
        where = {"namespace": "default", "pod": pod, "model_name": "tiny"}
        samples += gauge(rng, named("vllm:num_requests_waiting", **where))
        samples += gauge(rng, named("vllm:num_requests_running", **where))
        for name in ("prompt_tokens", "generation_tokens", "num_incoming_requests"):
            samples += counter(rng, named(f"vllm:{name}_total", **where), start=900.0)
        samples += histogram(rng, "vllm:time_to_first_token_seconds", **where)
    return samples


@pytest.fixture(scope="module")
def storage() -> Storage:
    storage = Storage(retention=1e9)
    for labels, t, value in sorted(generated(), key=lambda sample: sample[1]):
        assert storage.append(labels, t, value)
    return storage


def openmetrics(samples: Samples) -> str:
    lines = []
    for labels, t, value in sorted(samples, key=lambda sample: (sample[0].pairs, sample[1])):
        pairs = ",".join(f'{name}="{text}"' for name, text in labels.without_name())
        lines.append(f"{labels.name}{{{pairs}}} {format_value(value)} {t:.3f}")
    return "\n".join([*lines, "# EOF", ""])


class Oracle:
    def __init__(self, address: str) -> None:
        self.address = address

    def ask(self, path: str, **params: object) -> dict[str, object]:
        url = f"{self.address}/api/v1/{path}?{urllib.parse.urlencode(params)}"
        try:
            with urllib.request.urlopen(url, timeout=20) as answer:  # noqa: S310
                return json.load(answer)
        except urllib.error.HTTPError as error:
            return json.load(error)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Oracle]:
    home = tmp_path_factory.mktemp("prometheus")
    page = home / "page.txt"
    page.write_text(openmetrics(generated()))
    data = home / "data"
    subprocess.run(
        ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(page), str(data)],
        check=True,
        capture_output=True,
        timeout=50,
    )
    (home / "prometheus.yml").write_text("global: {}\n")
    address = f"127.0.0.1:{free_port()}"
    command = [
        "prometheus",
        f"--config.file={home}/prometheus.yml",
        f"--storage.tsdb.path={data}",
        "--storage.tsdb.retention.time=100y",
        f"--web.listen-address={address}",
    ]
    with (
        (home / "log").open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log, cwd=home) as process,
    ):
        try:
            wait_until_ready(f"http://{address}/-/ready", process)
            yield Oracle(f"http://{address}")
        finally:
            process.terminate()
            process.wait(20)


def wait_until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(200):
        assert process.poll() is None, "prometheus ended"
        try:
            with urllib.request.urlopen(url, timeout=1):  # noqa: S310
                return
        except OSError:
            pause(0.1)
    pytest.fail("prometheus does not get ready")


def same_number(a: str, b: str) -> bool:
    x, y = float(a), float(b)
    if math.isnan(x) or math.isnan(y):
        return math.isnan(x) and math.isnan(y)
    return x == y or math.isclose(x, y, rel_tol=1e-9, abs_tol=1e-12)


def same_points(ours: list[list[object]], theirs: list[list[object]]) -> bool:
    return len(ours) == len(theirs) and all(
        abs(a[0] - b[0]) < 1e-4 and same_number(a[1], b[1])
        for a, b in zip(ours, theirs, strict=True)
    )


def same(ours: dict[str, object], theirs: dict[str, object], *, ordered: bool) -> bool:
    if ours["resultType"] != theirs["resultType"]:
        return False
    if ours["resultType"] in {"scalar", "string"}:
        return same_points([ours["result"]], [theirs["result"]])
    key = "value" if ours["resultType"] == "vector" else "values"
    rows = []
    for document in (ours, theirs):
        elements = [
            (sorted(one["metric"].items()), [one[key]] if key == "value" else one[key])
            for one in document["result"]
        ]
        rows.append(elements if ordered else sorted(elements, key=lambda row: row[0]))
    return len(rows[0]) == len(rows[1]) and all(
        a[0] == b[0] and same_points(a[1], b[1]) for a, b in zip(*rows, strict=True)
    )


def ours_or_none(ask: Callable[[], Value]) -> dict[str, object] | None:
    """Our answer as JSON; None if it is an error."""
    try:
        return value_json(ask())
    except QueryError:
        return None


def test_enough_queries_are_asked():
    assert len(QUERIES) >= 150
    assert len(set(QUERIES)) == len(QUERIES)


@pytest.mark.parametrize("query", QUERIES)
def test_instant_answers_are_those_of_prometheus(query, storage, oracle):
    ordered = query.startswith(("sort", "topk(", "bottomk(")) and "specials" not in query
    for at in MOMENTS:
        theirs = oracle.ask("query", query=query, time=at)
        ours = ours_or_none(lambda at=at: instant(query, storage, at))
        assert (ours is None) == (theirs["status"] == "error"), theirs
        assert ours is None or same(ours, theirs["data"], ordered=ordered), (
            f"at {at}\n{ours}\n{theirs['data']}"
        )


@pytest.mark.parametrize("query", QUERIES)
def test_range_answers_are_those_of_prometheus(query, storage, oracle):
    bounds = {"start": BASE - 29.5, "end": BASE + 1300.5, "step": 35}
    theirs = oracle.ask("query_range", query=query, **bounds)
    ours = ours_or_none(lambda: range_(query, storage, *bounds.values()))
    assert (ours is None) == (theirs["status"] == "error"), theirs
    assert ours is None or same(ours, theirs["data"], ordered=False), f"\n{ours}\n{theirs['data']}"
