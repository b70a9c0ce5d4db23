"""Names as a ReplicaSet makes them."""

# ruff: noqa: ARG002 - a fake has the signature of what it stands for

import re
from dataclasses import replace

import pytest

from stoker.errors import MachineError
from stoker.resources.workload import Probe
from stoker.targets.base import Launch
from stoker.targets.processes.naming import pod_name, template_hash


class Engine:
    name = "fake"

    def __init__(self, *options, error=None):
        self.options = options
        self.error = error

    def check(self):
        pass

    def launch(self, workload, port, gpu_ids):
        if self.error:
            raise self.error
        return Launch((*self.options, str(port)))


def test_a_pod_is_named_after_deployment_and_template():
    name = pod_name("vllm-llama3-deployment-vllm", "7c6fcfc85d")
    assert re.fullmatch(r"vllm-llama3-deployment-vllm-7c6fcfc85d-[b-z2-9]{5}", name)


def test_pods_of_one_template_have_different_names():
    assert len({pod_name("m", "7c6fcfc85d") for _ in range(100)}) == 100


def test_the_hash_has_ten_hex_digits_and_is_the_same_every_time(workload):
    assert re.fullmatch(r"[0-9a-f]{10}", template_hash(workload(), Engine()))
    assert template_hash(workload(), Engine()) == template_hash(workload(), Engine())


@pytest.mark.parametrize(
    "change",
    [
        {"command": ("vllm", "serve", "other")},
        {"env": {"A": "1"}},
        {"gpus": 1},
        {"readiness_probe": Probe(period=5)},
        {"pod_labels": {"model": "x"}},
        {"termination_grace_period": 60.0},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_template_has_another_hash(workload, change):
    assert template_hash(workload(), Engine()) != template_hash(
        replace(workload(), **change), Engine()
    )


@pytest.mark.parametrize(
    "change",
    [{"replicas": 3}, {"origin": "values.yaml:9"}, {"aliases": ("m",)}, {"labels": {"a": "b"}}],
    ids=lambda change: next(iter(change)),
)
def test_what_is_not_in_the_pod_template_does_not_change_the_hash(workload, change):
    assert template_hash(workload(), Engine()) == template_hash(
        replace(workload(), **change), Engine()
    )


def test_another_command_line_of_the_engine_is_another_template(workload):
    slow, fast = Engine("--cold-start", "80"), Engine("--cold-start", "5")
    assert template_hash(workload(), slow) != template_hash(workload(), fast)


def test_an_engine_that_cannot_run_here_has_a_hash_all_the_same(workload):
    assert template_hash(workload(), Engine(error=MachineError("no vllm")))
