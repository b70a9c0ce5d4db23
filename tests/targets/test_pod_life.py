"""A replica from Pending to gone, on fakes and in virtual time."""

# ruff: noqa: ARG001 - a fake has the signature of what it stands for

import asyncio
import errno
import signal

import pytest

from stoker.errors import MachineError
from stoker.resources.workload import Probe
from stoker.targets.processes import records

pytestmark = pytest.mark.looptime

STARTUP = Probe(path="/startup", initial_delay=15, period=10, failure_threshold=60)
READINESS = Probe(path="/ready", period=5, failure_threshold=3)
LIVENESS = Probe(path="/live", period=10, failure_threshold=3)


def now():
    return asyncio.get_running_loop().time()


async def test_a_replica_without_probes_is_ready_as_soon_as_it_runs(world, workload):
    w = world()
    deployment = await w.deployment(workload())
    (pod,) = deployment.pods()
    assert (pod.phase, pod.ready, pod.reason, pod.restarts) == ("Running", True, "", 0)
    assert pod.started_at == pod.ready_at == w.clock.now()
    assert [event.reason for event in w.events] == [
        "ScalingReplicaSet",
        "SuccessfulCreate",
        "Scheduled",
        "Created",
        "Started",
    ]


async def test_events_have_the_words_of_kubernetes(world, workload):
    w = world()
    deployment = await w.deployment(workload())
    name, rs = deployment.pods()[0].name, deployment.replica_set
    await deployment.scale(3)
    await deployment.scale(2)
    messages = [event.message for event in w.events]
    assert f"Scaled up replica set {rs} from 0 to 1" in messages
    assert f"Scaled up replica set {rs} from 1 to 3" in messages
    assert f"Scaled down replica set {rs} from 3 to 2" in messages
    assert f"Created pod: {name}" in messages
    assert f"Successfully assigned default/{name} to {w.node.name}" in messages
    assert "Created container: vllm" in messages
    assert "Started container vllm" in messages
    assert str(w.said("ScalingReplicaSet")[0].about) == "deployment/llama3"
    assert str(w.said("SuccessfulCreate")[0].about) == f"replicaset/{rs}"


async def test_without_a_free_gpu_it_is_pending_until_one_frees(world, workload):
    w = world(gpus=1)
    first = await w.deployment(workload(gpus=1))
    second = await w.deployment(workload(name="phi", gpus=1))
    (pod,) = second.pods()
    assert (pod.phase, pod.port, pod.gpu_ids) == ("Pending", None, ())
    (event,) = w.said("FailedScheduling")
    assert event.message == "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."
    assert (event.type, event.source) == ("Warning", "default-scheduler")
    await first.scale(0)
    await w.settle()
    (pod,) = second.pods()
    assert (pod.phase, pod.gpu_ids, pod.message) == ("Running", (0,), "")


async def test_a_pod_that_can_never_fit_says_how_many_gpus_there_are(world, workload):
    w = world(gpus=1)
    deployment = await w.deployment(workload(gpus=2))
    assert "wants 2, this machine has 1 (--gpus)" in deployment.pods()[0].message


async def test_a_pending_pod_is_gone_at_once_when_it_is_deleted(world, workload):
    w = world(gpus=0)
    deployment = await w.deployment(workload(gpus=1))
    await deployment.scale(0)
    await w.settle()
    assert deployment.pods() == ()
    assert w.launcher.started == []


async def test_the_process_sees_its_gpus_and_no_others(world, workload):
    w = world(gpus=4)
    await w.deployment(workload(gpus=2))
    await w.deployment(workload(name="cpu", gpus=0))
    assert w.launcher.started[0].env["CUDA_VISIBLE_DEVICES"] == "0,1"
    assert w.launcher.started[1].env["CUDA_VISIBLE_DEVICES"] == ""
    assert w.launcher.started[0].env["ENGINE"] == "1"


async def test_it_is_ready_after_startup_and_readiness(world, workload):
    w = world()
    w.prober.answers = {"/startup": "connection refused"}
    probes = {"startup_probe": STARTUP, "readiness_probe": READINESS, "liveness_probe": LIVENESS}
    deployment = await w.deployment(workload(**probes))
    await asyncio.sleep(30)
    assert {path for _, path, _ in w.prober.asked} == {"/startup"}
    assert not deployment.pods()[0].ready
    w.prober.answers = {}
    await asyncio.sleep(10)
    (pod,) = deployment.pods()
    assert pod.ready
    assert pod.ready_at == pod.ready_changed_at == pod.started_at + 35
    unhealthy = w.said("Unhealthy")
    assert [event.message for event in unhealthy] == ["Startup probe failed: connection refused"]
    assert unhealthy[0].count == 2
    assert {port for _, _, port in w.prober.asked} == {pod.port}


async def test_unready_pods_leave_and_come_back_without_a_restart(world, workload):
    w = world()
    deployment = await w.deployment(workload(readiness_probe=READINESS))
    first_ready = deployment.pods()[0].ready_at
    w.prober.answers = {"/ready": "HTTP probe failed with statuscode: 503"}
    await asyncio.sleep(10.1)
    assert deployment.pods()[0].ready, "two failures are not three"
    await asyncio.sleep(5)
    (pod,) = deployment.pods()
    assert (pod.ready, pod.ready_at, pod.ready_changed_at) == (False, None, first_ready + 15)
    w.prober.answers = {}
    await asyncio.sleep(5)
    (pod,) = deployment.pods()
    assert (pod.ready, pod.ready_at, pod.restarts) == (True, first_ready + 20, 0)
    assert w.said("Unhealthy")[0].message == (
        "Readiness probe failed: HTTP probe failed with statuscode: 503"
    )


@pytest.mark.parametrize(
    ("probe", "after"),
    [
        pytest.param({"liveness_probe": LIVENESS, "readiness_probe": READINESS}, 20, id="liveness"),
        pytest.param({"startup_probe": STARTUP}, 605, id="startup"),
    ],
)
async def test_a_container_that_fails_its_probe_is_restarted(world, workload, probe, after):
    w = world()
    kind = next(iter(probe))
    w.prober.answers = {"/live": "hangs", "/startup": "hangs"}
    deployment = await w.deployment(workload(**probe))
    await asyncio.sleep(after - 1)
    assert w.launcher.started[0].signals == []
    await asyncio.sleep(1.5)
    assert w.launcher.started[0].signals == [(after, signal.SIGTERM)]
    assert len(w.launcher.started) == 2
    assert deployment.pods()[0].restarts == 1
    assert w.said("Killing")[0].message == (
        f"Container vllm failed {kind.removesuffix('_probe')} probe, will be restarted"
    )


async def test_a_hung_container_is_killed_after_its_grace_period(world, workload):
    w = world()
    w.prober.answers = {"/live": "hangs"}
    await w.deployment(workload(liveness_probe=LIVENESS, termination_grace_period=7))
    w.launcher.started[0].shutdown = None
    await asyncio.sleep(28)
    assert w.launcher.started[0].signals == [(20, signal.SIGTERM), (27, signal.SIGKILL)]
    assert len(w.launcher.started) == 2


async def test_crashes_are_backed_off_and_told(world, workload):
    w = world()
    w.prober.answers = {"/ready": "connection refused"}
    w.launcher.lifetimes = [1, 1, 1, 1]
    deployment = await w.deployment(workload(readiness_probe=READINESS))
    await asyncio.sleep(2.5)
    (pod,) = deployment.pods()
    assert (pod.reason, pod.restarts, pod.phase) == ("CrashLoopBackOff", 1, "Running")
    assert pod.message == (
        "back-off 10s restarting failed container=vllm: exit code 1: RuntimeError: no kernel image"
    )
    assert (pod.pid, pod.ready) == (None, False)
    await asyncio.sleep(10)
    assert deployment.pods()[0].reason == ""
    await asyncio.sleep(100)
    assert w.launcher.times == [0, 1, 12, 33, 74]
    assert deployment.pods()[0].restarts == 4
    assert deployment.pods()[0].started_at == w.clock.now() - now()
    assert deployment.pods()[0].last_restart_at == deployment.pods()[0].started_at + 74
    assert sum(event.count for event in w.said("BackOff")) == 3
    assert w.said("BackOff")[0].type == "Warning"
    assert f"Back-off restarting failed container vllm in pod {pod.name}_default" in (
        w.said("BackOff")[0].message
    )


async def test_an_engine_that_ends_at_once_is_told_once_with_its_last_lines(world, workload):
    w = world()
    w.prober.answers = {"/ready": "connection refused"}
    w.launcher.log = b"loading\nRuntimeError: out of memory\n"
    w.launcher.lifetimes = [0.5] * 4
    deployment = await w.deployment(workload(readiness_probe=READINESS))
    await deployment.scale(2)
    await asyncio.sleep(15)
    (notice,) = w.notices
    assert "the engine ended after 0.5 s, before it was ready: exit code 1" in notice.message
    assert notice.hint.splitlines()[1:] == ["loading", "RuntimeError: out of memory"]
    assert deployment.pods()[0].log_file in notice.hint


async def test_a_crash_of_a_ready_engine_is_an_event_and_no_notice(world, workload):
    w = world()
    deployment = await w.deployment(workload())
    w.launcher.started[0].end(-signal.SIGSEGV)
    await w.settle()
    assert w.notices == []
    (event,) = w.said("Failed")
    assert event.message.startswith("Container vllm ended: exit code 139 (SIGSEGV)")
    assert deployment.pods()[0].restarts == 1


async def test_a_missing_program_is_told_once_and_tried_again(world, workload):
    w = world()
    w.launcher.error = FileNotFoundError('exec: "vllm": executable file not found in $PATH')
    deployment = await w.deployment(workload())
    (pod,) = deployment.pods()
    assert (pod.phase, pod.reason) == ("Pending", "CrashLoopBackOff")
    await asyncio.sleep(5)
    w.launcher.error = None
    await asyncio.sleep(5.1)
    assert deployment.pods()[0].ready
    (notice,) = w.notices
    assert 'exec: "vllm": executable file not found' in notice.message
    assert notice.hint


async def test_an_engine_that_refuses_is_told_with_its_own_hint(world, workload):
    w = world()
    w.engine.error = MachineError("vllm is not installed", hint="use --engine simulated")
    deployment = await w.deployment(workload())
    assert w.notices == [w.engine.error]
    await deployment.scale(0)
    await w.settle()
    assert deployment.pods() == ()


async def test_a_full_disk_is_told_once_and_the_replica_waits_for_space(
    world, workload, monkeypatch
):
    w = world()
    write = records.write_atomically

    def full(path, text):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(records, "write_atomically", full)
    deployment = await w.deployment(workload())
    await asyncio.sleep(12)
    assert w.launcher.started == [], "an engine without a record could outlive its Stoker"
    (notice,) = w.notices
    assert "No space left on device" in notice.message
    assert "free some space" in notice.hint
    assert [event.count for event in w.said("NodeHasDiskPressure")] == [1]
    monkeypatch.setattr(records, "write_atomically", write)
    await asyncio.sleep(20)
    assert deployment.pods()[0].ready


async def test_a_full_disk_does_not_touch_what_runs(world, workload, monkeypatch):
    w = world()
    deployment = await w.deployment(workload(readiness_probe=READINESS))

    def full(path, text):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(records, "write_atomically", full)
    w.prober.answers = {"/ready": "no"}
    await asyncio.sleep(30)
    w.prober.answers = {}
    await asyncio.sleep(5)
    await deployment.scale(0)
    await w.settle()
    assert deployment.pods() == ()
    assert len(w.launcher.started) == 1
    assert len(w.notices) == 1


async def test_it_leaves_routing_first_then_drains_then_gets_sigterm(world, workload):
    w = world()
    deployment = await w.deployment(workload())
    (name,) = (pod.name for pod in deployment.pods())
    w.traffic.requests = {name: 2}
    seen = []
    deployment.on_change(lambda: seen.append([pod.terminating for pod in deployment.pods()]))
    await deployment.scale(0)
    assert seen[0] == [True]
    await asyncio.sleep(120)
    (process,) = w.launcher.started
    assert process.signals == []
    w.traffic.requests = {name: 0}
    await asyncio.sleep(1)
    assert [number for _, number in process.signals] == [signal.SIGTERM]
    assert process.signals[0][0] == pytest.approx(120.1, abs=0.11)
    assert deployment.pods() == ()
    assert seen[-1] == []
    assert w.said("Killing")[0].message == "Stopping container vllm"


async def test_a_pod_that_drains_is_still_ready_as_kubernetes_counts(world, workload):
    """The HPA's Value formula counts ready pods, terminating ones included."""
    w = world()
    deployment = await w.deployment(workload())
    w.traffic.requests = {deployment.pods()[0].name: 1}
    await deployment.scale(0)
    status = deployment.status()
    assert (status.ready_replicas, status.ready_pods, status.replicas) == (0, 1, 0)


async def test_the_drain_has_an_end(world, workload):
    w = world(drain_timeout=60)
    deployment = await w.deployment(workload())
    w.traffic.requests = {deployment.pods()[0].name: 3}
    await deployment.scale(0)
    await asyncio.sleep(61)
    assert w.launcher.started[0].signals[0][0] == pytest.approx(60, abs=0.11)
    assert "3 requests still ran after 60 s" in w.said("DrainTimeout")[0].message


async def test_without_a_drain_timeout_sigterm_comes_at_once_as_in_a_cluster(world, workload):
    w = world(drain_timeout=0)
    deployment = await w.deployment(workload())
    w.traffic.requests = {deployment.pods()[0].name: 3}
    await deployment.scale(0)
    await w.settle()
    assert w.launcher.started[0].signals == [(0, signal.SIGTERM)]


async def test_sigkill_comes_after_the_grace_period(world, workload):
    w = world()
    deployment = await w.deployment(workload(termination_grace_period=30))
    (process,) = w.launcher.started
    process.shutdown = None
    await deployment.scale(0)
    await asyncio.sleep(31)
    assert process.signals == [(0, signal.SIGTERM), (30, signal.SIGKILL)]
    assert deployment.pods() == ()


async def test_a_second_stop_by_force_kills_at_once(world, workload):
    w = world()
    deployment = await w.deployment(workload(replicas=2))
    w.traffic.requests = {pod.name: 1 for pod in deployment.pods()}
    first = asyncio.create_task(deployment.stop())
    await asyncio.sleep(5)
    assert not first.done()
    await deployment.stop(force=True)
    assert now() == 5
    assert [process.signals[-1] for process in w.launcher.started] == [(5, signal.SIGKILL)] * 2
    await first
    assert w.node.machine.living == set()


async def test_a_process_that_dies_while_it_drains_is_not_restarted(world, workload):
    w = world()
    deployment = await w.deployment(workload())
    w.traffic.requests = {deployment.pods()[0].name: 1}
    await deployment.scale(0)
    w.launcher.started[0].end(1)
    await asyncio.sleep(20)
    assert len(w.launcher.started) == 1
    assert deployment.pods() == ()


async def test_scaling_up_does_not_bring_back_a_pod_that_drains(world, workload):
    w = world(gpus=1)
    deployment = await w.deployment(workload(gpus=1))
    (old,) = deployment.pods()
    w.traffic.requests = {old.name: 1}
    await deployment.scale(0)
    await deployment.scale(1)
    await w.settle()
    draining, new = deployment.pods()
    assert (draining.name, draining.terminating) == (old.name, True)
    assert (new.phase, new.terminating) == ("Pending", False)
    w.traffic.requests = {}
    await asyncio.sleep(1)
    assert [pod.name for pod in deployment.pods()] == [new.name]
    assert deployment.pods()[0].gpu_ids == (0,)


async def test_what_a_gone_pod_had_is_given_back(world, workload, tmp_path):
    w = world(gpus=2)
    deployment = await w.deployment(workload(gpus=2))
    port = deployment.pods()[0].port
    assert [path.stem for path in (tmp_path / "pods").iterdir()] == [deployment.pods()[0].name]
    await deployment.scale(0)
    await w.settle()
    assert w.node.machine.gpus.free == 2
    assert list((tmp_path / "pods").iterdir()) == []
    assert port not in w.node.machine.ports._taken


async def test_a_restarted_container_keeps_gpus_and_port(world, workload):
    w = world()
    deployment = await w.deployment(workload(gpus=1))
    (before,) = deployment.pods()
    w.launcher.started[0].end(1)
    await w.settle()
    (after,) = deployment.pods()
    assert (after.gpu_ids, after.port, after.name) == (before.gpu_ids, before.port, before.name)
    assert after.pid != before.pid


async def test_the_log_before_the_restart_can_be_read(world, workload):
    w = world()
    w.launcher.log = b"first\n"
    deployment = await w.deployment(workload())
    (name,) = (pod.name for pod in deployment.pods())
    w.launcher.log = b"second\n"
    w.launcher.started[0].end(1)
    await w.settle()
    assert b"".join([chunk async for chunk in w.node.logs(name)]) == b"second\n"
    assert b"".join([chunk async for chunk in w.node.logs(name, previous=True)]) == b"first\n"
