"""The simulated engine: an OpenAI server with a GPU's timing and no GPU, one process a replica."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from stoker.engines.commandline import ServeCommand, serve_command
from stoker.errors import InputError
from stoker.resources.workload import Workload
from stoker.simulator.profiles import DEFAULT_PROFILE, profile
from stoker.targets.base import Launch


@dataclass(frozen=True, slots=True)
class SimulatedEngine:
    """Replicas are ``python -m stoker.engines.simulated_server`` processes."""

    profile: str = DEFAULT_PROFILE
    startup: float | None = None  # seconds until the port opens; None: the profile's
    speed: float = 1.0  # how many times faster than the profile
    max_num_seqs: int | None = None  # None: what the workload or the profile says
    name: str = "simulated"

    def check(self) -> None:
        """Raise InputError when an option makes no sense. It runs on any machine."""
        profile(self.profile)
        if self.speed <= 0.0:
            raise InputError(f"speed {self.speed} must be more than 0")
        if self.startup is not None and self.startup < 0.0:
            raise InputError(f"start-up {self.startup} s must not be negative")
        if self.max_num_seqs is not None and self.max_num_seqs < 1:
            raise InputError(f"max_num_seqs {self.max_num_seqs} must be at least 1")

    def launch(self, workload: Workload, port: int, gpu_ids: tuple[int, ...]) -> Launch:
        """The workload's vLLM arguments, given to the simulated server on 127.0.0.1:*port*."""
        command = _command(workload)
        options: dict[str, object] = {"host": "127.0.0.1", "port": port}
        if not command.has("shutdown_timeout"):
            options["shutdown_timeout"] = int(workload.termination_grace_period)
        if self.max_num_seqs is not None:
            options["max_num_seqs"] = self.max_num_seqs
        options["profile"] = self.profile
        options["speed"] = self.speed
        if self.startup is not None:
            options["startup_seconds"] = self.startup
        env = dict(workload.env)
        if gpu_ids:
            env["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, gpu_ids))
        module = ("-m", "stoker.engines.simulated_server", "serve", command.model)
        return Launch((sys.executable, *module, *command.replacing(**options)), env)


def _command(workload: Workload) -> ServeCommand:
    try:
        return serve_command(workload)
    except InputError:
        # Any other model server is imitated under the name that requests use for it.
        return ServeCommand(workload.model, ())
