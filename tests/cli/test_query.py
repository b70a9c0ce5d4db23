"""`stoker query` on a saved page, and over HTTP."""

from __future__ import annotations

import asyncio
import json

import pytest
from aiohttp.test_utils import TestServer
from click.testing import CliRunner

from stoker.api.prometheus import make_app
from stoker.cli.query import query, sparkline
from stoker.cli.query_sources import Server
from stoker.clock import FixedClock
from stoker.errors import ConflictError, InputError, QueryError
from stoker.metrics.sample import Labels
from stoker.metrics.storage import Storage

PAGE = """\
# TYPE waiting gauge
waiting{model_name="llama",pod="a"} 3 1700000000000
waiting{model_name="llama",pod="b"} 4 1700000000000
"""


@pytest.fixture
def page(tmp_path):
    path = tmp_path / "page.txt"
    path.write_text(PAGE)
    return str(path)


def run(*words: str) -> str:
    found = CliRunner().invoke(query, words, catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return found.stdout


def test_vector_is_printed_as_promtool_does(page):
    assert run('waiting{pod="a"}', "--file", page) == (
        'waiting{model_name="llama", pod="a"} => 3 @[1700000000]\n'
    )


def test_json_is_that_of_prometheus(page):
    assert json.loads(run("sum(waiting)", "--file", page, "-o", "json")) == {
        "resultType": "vector",
        "result": [{"metric": {}, "value": [1700000000, "7"]}],
    }


def test_explain_shows_the_matcher_that_lets_nothing_through(page):
    out = run('sum(waiting{model_name="Llama"})', "--file", page, "--explain")
    assert 'without model_name="Llama": 2 series' in out
    assert out.splitlines()[:2] == ['sum(waiting{model_name="Llama"})', "    = no series"]


def test_explain_shows_the_query_as_it_was_meant(page):
    out = run("info(waiting, {version=~'.*'}) + fill(1_000) none @ -5", "--file", page, "--explain")
    assert [line for line in out.splitlines() if "= " not in line] == [
        'info(waiting, {version=~".*"}) + fill (1000) none @ -5.000',
        '  info(waiting, {version=~".*"})',
        "    waiting",
        "  none @ -5.000",
    ]


def test_range_has_a_line_that_rises(page):
    words = ("--time", "1700000060", "--range", "1m", "--step", "10s")
    out = run("time()", "--file", page, *words)
    assert "▁▂▃▄▅▆█" in out
    assert "last 1700000060" in out


def test_sparkline_is_never_wider_than_asked():
    assert len(sparkline([float(i) for i in range(1000)], 60)) == 60
    assert sparkline([1.0, float("nan"), 1.0]) == "▁ ▁"


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        pytest.param(("x", "--url", "127.0.0.1:9"), ConflictError, id="nobody there"),
        pytest.param(("x", "--url", "ftp://x"), InputError, id="address"),
        pytest.param(("x", "--time", "soon", "--url", "h"), InputError, id="time"),
    ],
)
def test_what_cannot_be_asked_is_an_error(words, kind):
    with pytest.raises(kind):
        CliRunner().invoke(query, words, catch_exceptions=False)


def test_wrong_query_is_a_query_error(page):
    with pytest.raises(QueryError, match="parse error"):
        CliRunner().invoke(query, ("sum(", "--file", page), catch_exceptions=False)


async def test_running_prometheus_is_asked_over_http():
    storage = Storage()
    storage.append(Labels({"__name__": "x", "pod": "a"}), 1_700_000_000.0, 2.0)
    async with TestServer(make_app(storage, FixedClock(1_700_000_000.0))) as server:
        words = ("--url", str(server.make_url("/")), "--time", "1700000000")
        out = await asyncio.to_thread(run, "x * 2", *words)
        assert out == '{pod="a"} => 4 @[1700000000]\n'
        tree = await asyncio.to_thread(run, "sum(x) > 5", *words, "--explain")
        assert tree.splitlines()[1] == "    = no series"
        with pytest.raises(QueryError, match="parse error"):
            await asyncio.to_thread(Server(words[1]).instant, "sum(", 0.0)
