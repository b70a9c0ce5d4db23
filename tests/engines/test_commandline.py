"""The command line of a vLLM server, read and rewritten."""

import pytest

from stoker.engines.commandline import ServeCommand, serve_command
from stoker.errors import InputError
from stoker.resources.workload import Workload


def workload(*command: str) -> Workload:
    return Workload(name="llama", namespace="default", model="llama3", command=command)


@pytest.mark.parametrize(
    "command",
    [
        ("vllm", "serve", "org/model", "--port", "8000"),
        ("/opt/venv/bin/vllm", "serve", "org/model", "--port", "8000"),
        ("vllm", "serve", "--model", "org/model", "--port", "8000"),
        ("vllm", "serve", "--port", "8000", "--model=org/model"),
        (
            "python3",
            "-m",
            "vllm.entrypoints.openai.api_server",
            "--port",
            "8000",
            "--model=org/model",
        ),
    ],
    ids=["chart", "lmcache-image", "flag", "flag-with-equals", "module"],
)
def test_the_model_is_found_in_every_way_to_start_vllm(command):
    assert serve_command(workload(*command)) == ServeCommand("org/model", ("--port", "8000"))


@pytest.mark.parametrize("command", [(), ("sleep", "infinity"), ("vllm", "bench", "serve")])
def test_another_program_is_refused_by_name(command):
    with pytest.raises(InputError, match="the container of llama does not run vLLM"):
        serve_command(workload(*command))


@pytest.mark.parametrize(
    "arguments",
    [
        ("--port", "8000", "--dtype", "auto"),
        ("--port=8000", "--dtype", "auto"),
        ("--dtype", "auto"),
    ],
)
def test_an_option_is_replaced_however_it_was_written(arguments):
    assert ServeCommand("m", arguments).replacing(port=9) == ("--dtype", "auto", "--port", "9")


def test_underscores_and_dashes_are_the_same_option():
    command = ServeCommand("m", ("--max_num_seqs", "4", "--enforce-eager"))
    assert command.has("max_num_seqs")
    assert command.replacing(max_num_seqs=8) == ("--enforce-eager", "--max-num-seqs", "8")
