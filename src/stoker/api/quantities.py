"""Numbers as Kubernetes quantities."""

from __future__ import annotations

import math


def quantity(value: float) -> str:
    """A Kubernetes quantity: ``4``, ``3500m``, ``12k``. Less than a thousandth is rounded up."""
    exact = value * 1000
    nearest = round(exact)
    # what float arithmetic adds is no thousandth
    noise = abs(exact - nearest) <= max(1e-6, abs(exact) * 1e-12)
    milli = nearest if noise else math.ceil(exact)
    if milli == 0:
        return "0"
    power = 0
    while power < 6 and milli % 1000 == 0:
        milli //= 1000
        power += 1
    return f"{milli}{('m', '', 'k', 'M', 'G', 'T', 'P')[power]}"


def binary_quantity(value: float) -> str:
    """Memory as people write it: ``100Mi``, where it is a whole number of them."""
    number, power = value, 0
    while power < 6 and number >= 1024 and number % 1024 == 0:
        number /= 1024
        power += 1
    return (
        f"{number:.0f}{('', 'Ki', 'Mi', 'Gi', 'Ti', 'Pi', 'Ei')[power]}"
        if power
        else quantity(value)
    )
