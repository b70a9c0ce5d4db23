"""What a model server is on this machine."""

from __future__ import annotations

from stoker.engines.gpus import detect_gpus
from stoker.engines.simulated import SimulatedEngine
from stoker.engines.vllm import VllmEngine
from stoker.errors import InputError
from stoker.targets.base import Engine

ENGINES = ("auto", "simulated", "vllm")

__all__ = ["ENGINES", "SimulatedEngine", "VllmEngine", "choose", "detect_gpus"]


def choose(
    name: str = "auto",
    *,
    simulated: SimulatedEngine | None = None,
    vllm: VllmEngine | None = None,
) -> Engine:
    """The engine of ``--engine NAME``, checked. ``auto`` is vLLM where it can run on a GPU."""
    vllm = vllm or VllmEngine()
    if name not in ENGINES:
        raise InputError(f"no engine `{name}`", hint=f"one of {', '.join(ENGINES)}")
    if name == "auto":
        name = "vllm" if vllm.usable() else "simulated"
    engine: Engine = vllm if name == "vllm" else simulated or SimulatedEngine()
    engine.check()
    return engine
