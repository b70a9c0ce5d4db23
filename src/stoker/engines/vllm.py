"""Real vLLM: ``vllm serve`` on this machine."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

from stoker.engines.commandline import serve_command
from stoker.engines.gpus import detect_gpus
from stoker.errors import MachineError
from stoker.resources.workload import Workload
from stoker.targets.base import Launch

_SHUTDOWN_TIMEOUT_SINCE = (0, 32)
# Paths of the chart's container. Several replicas on one machine must not share them, and the
# user's own Hugging Face cache is where the weights are.
_CONTAINER_ONLY = {"HF_HOME": ("/tmp", "/data"), "PROMETHEUS_MULTIPROC_DIR": ("/tmp",)}  # noqa: S108


class VllmEngine:
    """Replicas are ``vllm serve`` processes. *which* and *gpus* say what this machine has."""

    name = "vllm"

    def __init__(
        self,
        which: Callable[[str], str | None] = shutil.which,
        gpus: Callable[[], int] = detect_gpus,
    ) -> None:
        self._which = which
        self._gpus = gpus

    def usable(self) -> bool:
        """Whether ``--engine auto`` takes it: the program and a GPU are here."""
        return self._which("vllm") is not None and self._gpus() > 0

    def check(self) -> None:
        """Raise MachineError when ``vllm`` is not on PATH."""
        self._program()

    def launch(self, workload: Workload, port: int, gpu_ids: tuple[int, ...]) -> Launch:
        """The workload's own command line, on 127.0.0.1:*port* and the given GPUs."""
        program = self._program()
        command = serve_command(workload)
        options: dict[str, object] = {"host": "127.0.0.1", "port": port}
        # Without it vLLM cuts the answers that are under way when it is told to stop.
        if not command.has("shutdown_timeout") and _drains(program):
            options["shutdown_timeout"] = int(workload.termination_grace_period)
        env = {name: value for name, value in workload.env.items() if _fits_here(name, value)}
        if gpu_ids:
            env["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, gpu_ids))
        return Launch((program, "serve", command.model, *command.replacing(**options)), env)

    def _program(self) -> str:
        program = self._which("vllm")
        if program is None:
            raise MachineError(
                "`vllm` is not on PATH", hint="install vLLM, or use `--engine simulated`"
            )
        return program


def installed_version(program: str) -> tuple[int, ...] | None:
    """The version of the vLLM that *program* belongs to, None when it cannot be told.

    Read from the package's metadata beside the program: to ask it would cost the minute that it
    takes to import vLLM.
    """
    prefix = Path(program).resolve().parent.parent
    for info in sorted(prefix.glob("lib/python3.*/site-packages/vllm-*.dist-info")):
        numbers = re.match(r"vllm-(\d+(?:\.\d+)*)", info.name)
        if numbers:
            return tuple(map(int, numbers[1].split(".")))
    return None


def _drains(program: str) -> bool:
    version = installed_version(program)
    return version is not None and version >= _SHUTDOWN_TIMEOUT_SINCE


def _fits_here(name: str, value: str) -> bool:
    return value not in _CONTAINER_ONLY.get(name, ())
