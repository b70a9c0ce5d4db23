"""What a new node does with what an earlier one left, on fakes."""

import asyncio
from dataclasses import replace

import pytest

from stoker.resources.workload import Probe
from stoker.targets.processes import Deployment

pytestmark = pytest.mark.looptime

READINESS = Probe(path="/ready", period=5)


@pytest.fixture
def successor(world):
    """Makes a world on the state directory of another, whose processes still run."""

    def make(before, gpus=4):
        w = world(gpus=gpus)
        w.launcher.survivors = {
            process.pid: process for process in before.launcher.started if not process.exited
        }
        w.node._find_replicas()
        return w

    return make


async def test_a_living_replica_of_the_same_template_is_adopted(world, workload, successor):
    before = world()
    work = workload(gpus=1, readiness_probe=READINESS)
    (old,) = (await before.deployment(work)).pods()
    await asyncio.sleep(100)
    after = successor(before)
    deployment = await after.deployment(work)
    (pod,) = deployment.pods()
    assert after.launcher.started == []
    assert replace(pod, ready_changed_at=None) == replace(old, ready_changed_at=None)
    assert pod.ready_changed_at == old.ready_changed_at
    assert not after.said("ScalingReplicaSet")
    assert not after.node.machine.gpus.fits(4)


async def test_its_readiness_is_asked_anew(world, workload, successor):
    before = world()
    work = workload(readiness_probe=READINESS)
    await before.deployment(work)
    await asyncio.sleep(100)
    after = successor(before)
    after.prober.answers = {"/ready": "connection refused"}
    deployment = await after.deployment(work)
    assert not deployment.pods()[0].ready
    after.prober.answers = {}
    await asyncio.sleep(5)
    assert deployment.pods()[0].ready_at == after.clock.now()


async def test_the_startup_probe_is_not_repeated_for_one_that_was_ready(world, workload, successor):
    before = world()
    work = workload(startup_probe=Probe(path="/startup"), readiness_probe=READINESS)
    await before.deployment(work)
    after = successor(before)
    await after.deployment(work)
    assert {path for _, path, _ in after.prober.asked} == {"/ready"}


async def test_one_that_was_still_starting_goes_on_starting(world, workload, successor):
    before = world()
    before.prober.answers = {"/startup": "no"}
    work = workload(startup_probe=Probe(path="/startup"), readiness_probe=READINESS)
    await before.deployment(work)
    after = successor(before)
    after.prober.answers = {"/startup": "no"}
    await after.deployment(work)
    assert {path for _, path, _ in after.prober.asked} == {"/startup"}


async def test_an_adopted_replica_that_ends_is_restarted(world, workload, successor):
    before = world()
    await before.deployment(workload())
    after = successor(before)
    deployment = await after.deployment(workload())
    before.launcher.started[0].end(None)
    await after.settle()
    assert deployment.pods()[0].restarts == 1
    assert "exit code unknown" in after.said("Failed")[0].message


async def test_replicas_of_another_template_are_stopped_and_replaced(world, workload, successor):
    before = world()
    (old,) = (await before.deployment(workload())).pods()
    after = successor(before)
    after.traffic.requests = {old.name: 1}
    deployment = await after.deployment(workload(command=("vllm", "serve", "other")))
    going, new = deployment.pods()
    assert (going.name, going.terminating) == (old.name, True)
    assert (new.terminating, new.ready) == (False, True)
    after.traffic.requests = {}
    await asyncio.sleep(1)
    assert deployment.pods() == (new,)
    assert before.launcher.started[0].exited


async def test_replicas_that_no_file_wants_are_stopped(world, workload, successor):
    before = world()
    await before.deployment(workload(gpus=1))
    after = successor(before, gpus=1)
    assert not after.node.machine.gpus.fits(1)
    after.node.end_unclaimed()
    await asyncio.sleep(1)
    assert before.launcher.started[0].exited
    assert after.node.machine.gpus.fits(1)


async def test_one_that_was_terminating_goes_on_terminating(world, workload, successor):
    before = world()
    first = await before.deployment(workload())
    (old,) = first.pods()
    before.traffic.requests = {old.name: 1}
    await first.scale(0)
    await first.scale(1)
    await before.settle()
    new = first.pods()[1]
    after = successor(before)
    deployment = await after.deployment(workload())
    await asyncio.sleep(1)
    assert [pod.name for pod in deployment.pods()] == [new.name]
    assert before.launcher.started[0].exited


async def test_the_port_of_an_adopted_replica_is_not_given_away(world, workload, successor):
    before = world()
    (old,) = (await before.deployment(workload())).pods()
    after = successor(before)
    (other,) = (await after.deployment(workload(name="other"))).pods()
    assert other.port != old.port


async def test_the_record_of_a_dead_replica_is_removed_and_its_place_filled(
    world, workload, tmp_path
):
    before = world()
    (old,) = (await before.deployment(workload())).pods()
    after = world()
    after.node._find_replicas()
    deployment = await after.deployment(workload())
    (new,) = deployment.pods()
    assert new.name != old.name
    assert [path.stem for path in (tmp_path / "pods").iterdir()] == [new.name]


async def test_a_later_process_with_the_same_pid_is_left_alone(world, workload, successor):
    before = world()
    (old,) = (await before.deployment(workload())).pods()
    before.launcher.started[0].identity = "another boot"
    after = successor(before)
    deployment = await after.deployment(workload())
    assert [pod.name for pod in deployment.pods()] != [old.name]
    assert len(after.launcher.started) == 1
    assert before.launcher.started[0].signals == []


async def test_the_number_last_asked_for_is_kept(world, workload, successor):
    before = world()
    first = await before.deployment(workload(replicas=None))
    await first.scale(3)
    await before.settle()
    after = successor(before)
    deployment = await after.deployment(workload(replicas=None))
    assert deployment.replicas == 3
    assert len(deployment.pods()) == 3
    assert after.launcher.started == []


async def test_another_number_in_the_file_counts_more(world, workload):
    before = world()
    first = await before.deployment(workload(replicas=1))
    await first.scale(4)
    same = await world().deployment(workload(replicas=1))
    assert same.replicas == 4
    changed = await world().deployment(workload(replicas=2))
    assert changed.replicas == 2


async def test_a_clean_stop_forgets_the_number(world, workload):
    before = world()
    first = await before.deployment(workload(replicas=None))
    await first.scale(4)
    await first.stop()
    assert (await world().deployment(workload(replicas=None))).replicas == 1


@pytest.mark.parametrize(("in_file", "wanted"), [(None, 1), (0, 0), (2, 2)])
async def test_a_new_deployment_has_what_the_file_says_or_one(world, workload, in_file, wanted):
    deployment = await world().deployment(workload(replicas=in_file))
    assert (deployment.replicas, len(deployment.pods())) == (wanted, wanted)


async def test_a_record_that_cannot_be_read_is_told_and_removed(world, tmp_path):
    w = world()
    broken = tmp_path / "pods" / "x.json"
    broken.write_text("{")
    w.node._find_replicas()
    assert not broken.exists()
    assert "is not a record of a replica" in w.notices[0].message


async def test_replicas_go_to_the_deployment_of_their_namespace(world, workload, successor):
    before = world()
    await before.deployment(workload(namespace="a"))
    after = successor(before)
    other = Deployment(after.node, workload(namespace="b"))
    await other.start()
    await after.settle()
    assert len(after.launcher.started) == 1
