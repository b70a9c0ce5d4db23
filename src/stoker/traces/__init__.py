"""Recorded and invented traffic: when requests came, and how long they were."""

from stoker.traces.arrivals import Arrivals, PromptBlocks

__all__ = ["Arrivals", "PromptBlocks"]
