"""How many GPUs this machine has."""

from __future__ import annotations


def detect_gpus() -> int:
    """The number of NVIDIA GPUs that NVML sees. 0 when there is no driver."""
    import pynvml  # noqa: PLC0415 - loads the driver's library, only a real engine needs it

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return 0  # no driver, or one that does not answer: vLLM could not use it either
    try:
        return int(pynvml.nvmlDeviceGetCount())
    finally:
        pynvml.nvmlShutdown()
