"""What a model server is on this machine.

The names below are looked up when they are used: a simulated replica is a process of this package,
and would spend 0.3 s and 20 MB on the resource models that only the starting side needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stoker.engines.choice import ENGINES, choose
    from stoker.engines.gpus import detect_gpus
    from stoker.engines.simulated import SimulatedEngine
    from stoker.engines.vllm import VllmEngine

__all__ = ["ENGINES", "SimulatedEngine", "VllmEngine", "choose", "detect_gpus"]

_HOMES = {
    "ENGINES": "choice",
    "SimulatedEngine": "simulated",
    "VllmEngine": "vllm",
    "choose": "choice",
    "detect_gpus": "gpus",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
