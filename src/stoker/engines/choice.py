"""The engine of ``--engine NAME``."""

from __future__ import annotations

from stoker.engines.simulated import SimulatedEngine
from stoker.engines.vllm import VllmEngine
from stoker.errors import InputError
from stoker.targets.base import Engine

ENGINES = ("auto", "simulated", "vllm")


def choose(
    name: str = "auto",
    *,
    simulated: SimulatedEngine | None = None,
    vllm: VllmEngine | None = None,
) -> Engine:
    """The engine of that name, checked. ``auto`` is vLLM where it can run on a GPU."""
    vllm = vllm or VllmEngine()
    if name not in ENGINES:
        raise InputError(f"no engine `{name}`", hint=f"one of {', '.join(ENGINES)}")
    if name == "auto":
        name = "vllm" if vllm.usable() else "simulated"
    engine: Engine = vllm if name == "vllm" else simulated or SimulatedEngine()
    engine.check()
    return engine
