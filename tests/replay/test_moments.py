"""A replay that looks and scrapes when a live run did."""

import json
import math
from dataclasses import replace

import pytest
from tests.replay.conftest import TINY, job, steady, traffic

from stoker.cli.narration import JsonNarrator
from stoker.errors import InputError
from stoker.events import Event, ObjectRef
from stoker.metrics.sample import Labels
from stoker.metrics.scrapetarget import ScrapeTarget
from stoker.replay.job import begin
from stoker.replay.moments import Moments, first_request, read_moments
from stoker.replay.setup import Setup
from stoker.scaling.observation import Reader
from stoker.scaling.settings import ControllerSettings

pytestmark = pytest.mark.timeout(300)

BEHAVIOR = """
  advanced:
    horizontalPodAutoscalerConfig:
      behavior: {scaleDown: {stabilizationWindowSeconds: 60}}"""
BEGAN = 1_800_000_000.0


def told(capsys, *pods):
    """What a live run prints of pods: the start of each, and the first scrape of each."""
    narrator = JsonNarrator()
    for name, start, first in pods:
        about = ObjectRef("Pod", name)
        narrator.event(Event("Normal", "Started", "Started", about, "kubelet", start, start))
        target = ScrapeTarget("http://127.0.0.1:1/metrics", Labels({"pod": name}))
        narrator.target(target, first)
    return capsys.readouterr().out


def tick(at):
    return json.dumps({"type": "tick", "time": at}) + "\n"


def test_what_a_live_run_prints_is_read(tmp_path, capsys):
    lines = told(
        capsys,
        ("tiny-0123456789-aaaaa", BEGAN, BEGAN + 4.25),
        ("big-server-0123456789-bbbbb", BEGAN + 60, BEGAN + 60.5),
        ("tiny-0123456789-ccccc", BEGAN + 90, BEGAN + 91.5),
    )
    path = tmp_path / "up.jsonl"
    path.write_text(tick(BEGAN + 0.5) + lines + tick(BEGAN + 15) + '{"type": "ti')
    moments = read_moments(path)
    assert moments == Moments(BEGAN + 0.5, {"tiny": ((4.25,), (1.5,)), "big-server": ((0.5,),)})
    assert moments.of("tiny", 1) == (1.5,)
    assert moments.of("tiny", 2) == moments.of("other", 0) == ()


@pytest.mark.parametrize("text", ["nonsense\n", "[]\n", '{"a": 1}\n'])
def test_another_file_is_refused_by_name(tmp_path, text):
    path = tmp_path / "other.jsonl"
    path.write_text(text)
    with pytest.raises(InputError, match="not what `stoker up -o json` prints") as error:
        read_moments(path)
    assert "other.jsonl" in str(error.value.place)


def test_a_run_in_which_nobody_looked_has_no_moments(tmp_path, capsys):
    path = tmp_path / "up.jsonl"
    path.write_text(told(capsys, ("tiny-0123456789-aaaaa", BEGAN, BEGAN)))
    with pytest.raises(InputError, match="nobody has looked"):
        read_moments(path)


def test_pods_are_scraped_when_those_of_the_live_run_were(file):
    moments = Moments(BEGAN, {"tiny": ((4.25,), (0.125,))})
    setup = replace(TINY, start=BEGAN, moments=moments, replicas=3)
    run = begin(job(file(), setup), traffic(steady(1.0, 60)))
    for _ in run.ticks():
        pass
    (model,) = run.models
    lives = model.pods.lives
    first, second, third = (model.scrapes[life.name][0].last - BEGAN for life in lives)
    assert math.isclose(first % 5.0, 4.25, abs_tol=1e-6)
    assert math.isclose(second % 5.0, 0.125, abs_tol=1e-6)
    default = begin(job(file(), replace(TINY, start=BEGAN, replicas=3)), traffic(steady(1.0, 60)))
    for _ in default.ticks():
        pass
    names = [life.name for life in default.models[0].pods.lives]
    usual = [default.models[0].scrapes[name][0].last - BEGAN for name in names]
    assert third == usual[2]
    assert (first, second) != tuple(usual[:2])


def test_a_recorded_trace_knows_when_its_first_request_came(tmp_path):
    path = tmp_path / "trace.jsonl"
    path.write_text('{"time": 0.0, "unix_time": 1800000033.5}\n{"time": 1.0}\n')
    assert first_request(path) == 1_800_000_033.5
    path.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n")
    assert first_request(path) is None
    assert Setup().moments.start is None


def test_a_window_holds_no_sync_that_is_as_old(file):
    """As in a live run, whose timers never fire early: 60 s hold four syncs of 15 s, not five."""
    without_behavior = file((BEHAVIOR, ""))
    setup = replace(TINY, settings=ControllerSettings(downscale_stabilization=60.0))
    load = traffic(steady(14.0, 30, output=60), steady(0.2, 400, begin=30.0))
    run = begin(job(without_behavior, setup), load)
    syncs = [tick for tick in run.ticks() if tick.reader is Reader.HPA]
    down = next(tick for tick in syncs if tick.decision.replicas < tick.decision.was)
    enough = 5.0 * (down.decision.was - 1)  # with more than that waiting, nobody may go
    busy = [tick for tick in syncs if tick.time < down.time and tick.values[0].value > enough]
    assert down.time - busy[-1].time == pytest.approx(60.0, abs=0.1)
