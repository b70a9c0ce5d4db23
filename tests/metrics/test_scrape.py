"""The scraper against small real servers on 127.0.0.1."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web

from stoker.clock import FixedClock, LoopClock
from stoker.errors import InputError
from stoker.metrics import scrape
from stoker.metrics.relabel import read_relabeling
from stoker.metrics.sample import Labels, equals
from stoker.metrics.scrape import Scraper
from stoker.metrics.scrapetarget import ScrapeTarget
from stoker.metrics.storage import Storage
from stoker.promql.engine import instant

PAGE = Path(__file__).parents[1] / "data/vllm/metrics_load.txt"
POD = Labels({"pod": "p1", "job": "vllm"})


@asynccontextmanager
async def page(answer: Callable[[], web.Response]) -> AsyncIterator[str]:
    """A server whose page is what *answer* returns."""

    async def handle(_: web.Request) -> web.Response:
        return answer()

    app = web.Application()
    app.router.add_get("/metrics", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/metrics"
    finally:
        await runner.cleanup()


class Bench:
    """A scraper at work, with the questions that tests ask."""

    def __init__(self) -> None:
        self.storage = Storage()
        self.clock = LoopClock()
        self.scraper = Scraper(self.storage, self.clock)

    def target(self, url: str, labels: Labels = POD) -> ScrapeTarget:
        return ScrapeTarget(url, labels, interval=0.03, timeout=0.5)

    def values(self, query: str) -> dict[str, float]:
        value = instant(query, self.storage, self.clock.now())
        return {str(sample.labels): sample.v for sample in value.samples}

    async def until(self, query: str, wanted: dict[str, float]) -> None:
        async with asyncio.timeout(5):
            while self.values(query) != wanted:  # noqa: ASYNC110 - real servers answer when they do
                await asyncio.sleep(0.005)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    task = asyncio.create_task(bench.scraper.run())
    yield bench
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def text(body: str) -> Callable[[], web.Response]:
    return lambda: web.Response(text=body)


async def test_page_becomes_series_with_the_labels_of_the_target(bench):
    async with page(text('x{a="1"} 5\n')) as url:
        bench.scraper.set_targets([bench.target(url)])
        await bench.until("x", {'x{a="1", job="vllm", pod="p1"}': 5.0})
        assert bench.values("up") == {'up{job="vllm", pod="p1"}': 1.0}
        assert list(bench.values("scrape_samples_scraped").values()) == [1.0]
        (duration,) = bench.values("scrape_duration_seconds").values()
        assert 0 < duration < 1
        (status,) = bench.scraper.targets()
        assert (status.health, status.samples, status.last_error) == ("up", 1, "")


async def test_label_that_the_page_has_too_is_kept_as_exported(bench):
    async with page(text('x{pod="inner",exported_job="e",job="j"} 5\n')) as url:
        bench.scraper.set_targets([bench.target(url)])
        kept = 'exported_exported_job="j", exported_job="e", exported_pod="inner"'
        name = f'x{{{kept}, job="vllm", pod="p1"}}'
        await bench.until("x", {name: 5.0})


async def test_series_that_is_missing_on_the_next_page_ends_at_once(bench):
    bodies = ["x 1\ny 1\n"]
    async with page(lambda: web.Response(text=bodies[-1])) as url:
        bench.scraper.set_targets([bench.target(url)])
        await bench.until("count(y)", {"{}": 1.0})
        bodies.append("x 1\n")
        await bench.until("y", {})
        assert len(bench.values("x")) == 1


async def test_target_that_fails_is_down_and_its_series_end(bench):
    answers = [web.Response]
    async with page(lambda: answers[-1](text="x 1\n")) as url:
        bench.scraper.set_targets([bench.target(url)])
        await bench.until("count(x)", {"{}": 1.0})
        answers.append(lambda **_: web.Response(status=503))
        await bench.until("sum(up)", {"{}": 0.0})
        assert bench.values("x") == {}
        (status,) = bench.scraper.targets()
        assert status.health == "down"
        assert "503" in status.last_error


async def test_target_that_nobody_serves_is_down(bench):
    async with page(text("")) as url:
        pass
    bench.scraper.set_targets([bench.target(url)])
    await bench.until("sum(up)", {"{}": 0.0})
    assert bench.scraper.targets()[0].last_error


async def test_slow_target_times_out_and_delays_nobody(bench):
    never = asyncio.Event()

    async def hang(_: web.Request) -> web.Response:
        await never.wait()
        return web.Response()

    app = web.Application()
    app.router.add_get("/metrics", hang)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    slow = f"http://127.0.0.1:{runner.addresses[0][1]}/metrics"
    try:
        async with page(text("x 1\n")) as url:
            fast = bench.target(url, Labels({"pod": "fast"}))
            bench.scraper.set_targets(
                [ScrapeTarget(slow, Labels({"pod": "slow"}), interval=0.05, timeout=0.2), fast]
            )
            await bench.until("x", {'x{pod="fast"}': 1.0})
            await bench.until("up", {'up{pod="fast"}': 1.0, 'up{pod="slow"}': 0.0})
            assert "no answer within 0.2 s" in bench.scraper.targets()[0].last_error
    finally:
        never.set()
        await runner.cleanup()


async def test_page_with_a_mistake_is_refused_as_a_whole(bench):
    async with page(text("x 1\ny oops\n")) as url:
        bench.scraper.set_targets([bench.target(url)])
        await bench.until("sum(up)", {"{}": 0.0})
        assert bench.values("x") == {}
        assert ":2: `oops` is not a number" in bench.scraper.targets()[0].last_error


async def test_page_that_is_too_large_is_refused(bench, monkeypatch):
    monkeypatch.setattr(scrape, "MAX_PAGE_BYTES", 100_000)
    body = gzip.compress(b"# " + b"x" * 10_000_000 + b"\n")  # 10 kB on the wire
    headers = {"Content-Encoding": "gzip", "Content-Type": "text/plain"}
    async with page(lambda: web.Response(body=body, headers=headers)) as url:
        bench.scraper.set_targets([bench.target(url)])
        await bench.until("sum(up)", {"{}": 0.0})
        assert "larger than 100000 bytes" in bench.scraper.targets()[0].last_error


async def test_real_page_arrives_compressed(bench):
    body = gzip.compress(PAGE.read_bytes())
    headers = {"Content-Encoding": "gzip", "Content-Type": "text/plain; version=0.0.4"}
    async with page(lambda: web.Response(body=body, headers=headers)) as url:
        bench.scraper.set_targets([bench.target(url)])
        await bench.until("sum(vllm:num_requests_waiting)", {"{}": 16.0})
        assert bench.storage.metadata["vllm:num_requests_waiting"].type == "gauge"


async def test_target_that_is_no_longer_wanted_ends_with_all_its_series(bench):
    async with page(text("x 1\n")) as url:
        bench.scraper.set_targets([bench.target(url)])
        await bench.until("count(x)", {"{}": 1.0})
        bench.scraper.set_targets([])
        assert bench.values("x") == {}
        assert bench.values("up") == {}
        assert bench.scraper.targets() == []


async def test_target_that_stays_keeps_its_state(bench):
    async with page(text("x 1\n")) as url:
        first = bench.target(url)
        bench.scraper.set_targets([first])
        await bench.until("count(x)", {"{}": 1.0})
        bench.scraper.set_targets(
            [first, bench.target("http://127.0.0.1:9/", Labels({"pod": "p2"}))]
        )
        assert bench.values("x") == {'x{job="vllm", pod="p1"}': 1.0}
        assert [status.health for status in bench.scraper.targets()] == ["up", "unknown"]


async def test_pages_made_in_this_process_are_taken():
    storage, clock = Storage(), FixedClock(1000)
    scraper = Scraper(storage, clock)
    assert scraper.ingest("x 1\ny 2\n", POD, 1000) == 2
    scraper.ingest("x 2\n", POD, 1005)
    assert storage.series_count(equals(__name__="x")) == 1
    assert storage.series_count(equals(__name__="y")) == 0
    with pytest.raises(InputError):
        scraper.ingest("x\n", POD, 1010)
    scraper.forget(POD, 1015)
    assert storage.series_count() == 0


async def test_sample_with_a_time_of_its_own_keeps_it():
    storage, clock = Storage(), FixedClock(1000)
    scraper = Scraper(storage, clock)
    scraper.ingest("x 1 990000\n", POD, 1000)
    assert storage.newest() == 990.0


def test_targets_are_spread_over_the_interval_and_repeatably():
    targets = [ScrapeTarget(f"http://127.0.0.1:{port}/metrics") for port in range(8000, 8020)]
    offsets = [target.offset() for target in targets]
    assert offsets == [target.offset() for target in targets]
    assert all(0 <= offset < 5 for offset in offsets)
    assert max(offsets) - min(offsets) > 2.5


async def test_a_target_says_whose_labels_and_times_count_and_what_is_dropped(bench):
    steps = (
        read_relabeling({"action": "drop", "sourceLabels": ["__name__"], "regex": "noise"}, "0"),
        read_relabeling({"action": "labeldrop", "regex": "shard"}, "1"),
    )
    body = 'queue{job="own",shard="1"} 7 1000\nnoise 1\n'
    async with page(text(body)) as url:
        target = replace(
            bench.target(url), honor_labels=True, honor_timestamps=False, metric_relabelings=steps
        )
        bench.scraper.set_targets([target])
        await bench.until("queue", {'queue{job="own", pod="p1"}': 7.0})
        assert bench.values("noise") == {}
        assert bench.values("scrape_samples_scraped") == {
            'scrape_samples_scraped{job="vllm", pod="p1"}': 2.0
        }
