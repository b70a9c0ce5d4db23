"""Numba where it is installed, plain Python where it is not: the same functions, the same numbers.

Compiled code is kept in ``__pycache__`` (or ``NUMBA_CACHE_DIR``), so that only the first run on a
machine pays for the compiler. No fast-math: sums and products are those of IEEE 754 in the order in
which they are written, on every machine.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

try:
    from numba import njit
    from numba.core import event
except ImportError:  # the extra `replay` is not installed
    IS_COMPILED = False

    def compiled(function: F) -> F:
        """*function* itself."""
        return function

    def inner(function: F) -> F:
        """*function* itself."""
        return function

    def on_compiling(tell: Callable[[], None]) -> None:
        """Nothing is ever compiled."""

else:
    IS_COMPILED = True

    def compiled(function: F) -> F:
        """*function*, compiled when it is first called."""
        machine_code: F = njit(cache=True, error_model="numpy")(function)
        return machine_code

    def inner(function: F) -> F:
        """The same for what only compiled functions call, in half the time."""
        machine_code: F = njit(
            cache=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True
        )(function)
        return machine_code

    class _Compiling(event.Listener):  # type: ignore[misc]
        def __init__(self, tell: Callable[[], None]) -> None:
            self._tell: Callable[[], None] | None = tell

        def on_start(self, _event: object) -> None:
            tell, self._tell = self._tell, None
            if tell is not None:
                tell()

        def on_end(self, _event: object) -> None:
            """Nothing: the work goes on."""

    def on_compiling(tell: Callable[[], None]) -> None:
        """Call *tell* once, when something has to be compiled: not when it is in the cache."""
        event.register("numba:compile", _Compiling(tell))
