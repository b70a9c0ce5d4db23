"""The operator of vLLM's production-stack: VLLMRuntime, and what its controller makes of it."""

from stoker.resources.operator.reader import RuntimeReader

__all__ = ["RuntimeReader"]
