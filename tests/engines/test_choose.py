"""Which engine runs, and the command line that it makes of a workload."""

import sys
from pathlib import Path

import pytest

from stoker.engines import SimulatedEngine, VllmEngine, choose
from stoker.engines.simulated_server.options import parse
from stoker.engines.vllm import installed_version
from stoker.errors import InputError, MachineError
from stoker.resources.workload import Workload

CHART = Workload(
    name="vllm-llama3-deployment-vllm",
    namespace="default",
    model="meta-llama/Llama-3.1-8B-Instruct",
    command=(
        "/opt/venv/bin/vllm",
        "serve",
        "meta-llama/Llama-3.1-8B-Instruct",
        *("--host", "0.0.0.0", "--port", "8000"),
        *("--no-enable-prefix-caching", "--max_loras", "4", "--max-num-seqs", "32"),
        *("--gpu_memory_utilization", "0.9", "--kv-transfer-config", '{"kv_role":"kv_both"}'),
    ),
    env={"HF_HOME": "/tmp", "HF_TOKEN": "hf", "PROMETHEUS_MULTIPROC_DIR": "/tmp"},  # noqa: S108
    termination_grace_period=45.0,
)


def vllm(path: str | None, gpus: int = 0) -> VllmEngine:
    return VllmEngine(which=lambda _: path, gpus=lambda: gpus)


def install(prefix: Path, version: str) -> str:
    """Something that looks like an installed vLLM."""
    (prefix / "bin").mkdir()
    program = prefix / "bin" / "vllm"
    program.touch()
    (prefix / f"lib/python3.12/site-packages/vllm-{version}.dist-info").mkdir(parents=True)
    return str(program)


@pytest.mark.parametrize(
    ("path", "gpus", "name"),
    [("/bin/vllm", 1, "vllm"), ("/bin/vllm", 0, "simulated"), (None, 1, "simulated")],
    ids=["both", "no-gpu", "no-vllm"],
)
def test_auto_takes_vllm_only_where_there_is_a_gpu_for_it(path, gpus, name):
    assert choose("auto", vllm=vllm(path, gpus)).name == name


def test_vllm_that_is_not_installed_is_told_with_the_way_out():
    with pytest.raises(MachineError) as caught:
        choose("vllm", vllm=vllm(None))
    assert caught.value.hint is not None
    assert "--engine simulated" in caught.value.hint


def test_an_unknown_engine_names_the_known_ones():
    with pytest.raises(InputError) as caught:
        choose("sglang")
    assert caught.value.hint == "one of auto, simulated, vllm"


@pytest.mark.parametrize(
    "options",
    [{"profile": "b200"}, {"speed": 0.0}, {"startup": -1.0}, {"max_num_seqs": 0}],
    ids=lambda options: next(iter(options)),
)
def test_an_option_that_makes_no_sense_is_refused_before_anything_starts(options):
    with pytest.raises(InputError):
        choose("simulated", simulated=SimulatedEngine(**options))


def test_the_simulated_server_understands_what_the_chart_renders():
    engine = SimulatedEngine(profile="llama-3.1-8b-h100", startup=3.0, speed=2.0)
    launch = engine.launch(CHART, 8123, (2, 3))
    assert launch.argv[:3] == (sys.executable, "-m", "stoker.engines.simulated_server")
    assert launch.env["CUDA_VISIBLE_DEVICES"] == "2,3"
    options = parse(launch.argv[3:], {})
    assert (options.host, options.port) == ("127.0.0.1", 8123)
    assert options.served_names == (CHART.model,)
    assert (options.limits.max_num_seqs, options.limits.max_num_batched_tokens) == (32, 8192)
    assert not options.enable_prefix_caching
    assert options.gpu_memory_utilization == 0.9
    assert (options.startup, options.shutdown_timeout) == (3.0, 45.0)
    assert options.profile.weights_ms == pytest.approx(6.26 / 2.0)
    assert options.ignored == ("--max-loras", "4", "--kv-transfer-config", '{"kv_role":"kv_both"}')


def test_max_num_seqs_of_the_run_counts_more_than_that_of_the_workload():
    launch = SimulatedEngine(max_num_seqs=4).launch(CHART, 8123, ())
    assert parse(launch.argv[3:], {}).limits.max_num_seqs == 4
    assert "CUDA_VISIBLE_DEVICES" not in launch.env


def test_a_server_that_is_not_vllm_is_imitated_under_its_name():
    other = Workload(name="tgi", namespace="default", model="mistral", command=("tgi", "--x"))
    assert parse(SimulatedEngine().launch(other, 1, ()).argv[3:], {}).name == "mistral"


def test_real_vllm_gets_its_own_arguments_on_the_loopback_and_the_given_gpus(tmp_path):
    program = install(tmp_path, "0.32.0+cu129")
    launch = vllm(program).launch(CHART, 8123, (1,))
    assert launch.argv == (
        *(program, "serve", "meta-llama/Llama-3.1-8B-Instruct"),
        *("--no-enable-prefix-caching", "--max_loras", "4", "--max-num-seqs", "32"),
        *("--gpu_memory_utilization", "0.9", "--kv-transfer-config", '{"kv_role":"kv_both"}'),
        *("--host", "127.0.0.1", "--port", "8123", "--shutdown-timeout", "45"),
    )
    # The paths of the chart's container are not this machine's.
    assert launch.env == {"HF_TOKEN": "hf", "CUDA_VISIBLE_DEVICES": "1"}


def test_a_cache_directory_that_the_user_chose_is_kept(tmp_path):
    chosen = Workload(
        name="x", namespace="default", model="m", command=CHART.command, env={"HF_HOME": "/models"}
    )
    launch = vllm(install(tmp_path, "0.32.0")).launch(chosen, 1, ())
    assert launch.env == {"HF_HOME": "/models"}


@pytest.mark.parametrize("version", ["0.31.4", "0.9.2", "unknown"])
def test_shutdown_timeout_is_not_given_to_a_vllm_that_would_refuse_it(tmp_path, version):
    program = install(tmp_path, version)
    assert "--shutdown-timeout" not in vllm(program).launch(CHART, 8123, ()).argv


def test_the_version_is_read_through_a_link_to_the_program(tmp_path):
    (tmp_path / "venv").mkdir()
    program = install(tmp_path / "venv", "1.2.3")
    link = tmp_path / "vllm"
    link.symlink_to(program)
    assert installed_version(str(link)) == (1, 2, 3)
