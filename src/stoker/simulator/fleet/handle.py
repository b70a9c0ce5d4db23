"""The state as compiled functions take it: one pointer in place of all arrays.

A tuple of arrays as an argument would make the compiler twice as slow, and its code, too. Without
Numba it is the tuple itself.
"""

from __future__ import annotations

from typing import Any

from stoker.simulator.compiled import compiled
from stoker.simulator.fleet.state import State

try:
    from numba import types
    from numba.experimental import structref
except ImportError:  # the extra `replay` is not installed

    def handle(state: State) -> State:
        """*state* itself."""
        return state

else:

    @structref.register
    class StateType(types.StructRef):
        """Its fields have the types of the arrays that it is made with."""

        def preprocess_fields(self, fields: Any) -> Any:
            """No literal types."""
            return tuple((field, types.unliteral(type_)) for field, type_ in fields)

    class StateHandle(structref.StructRefProxy):
        """What holds the arrays while Python has it."""

    structref.define_proxy(StateHandle, StateType, list(State._fields))

    # The proxy's own constructor is compiled anew in every process; this one is kept.
    @compiled
    def _made(  # noqa: PLR0913, PLR0917 - the compiler wants to see them
        times: Any,
        request: Any,
        blocks: Any,
        log: Any,
        clock: Any,
        number: Any,
        lists: Any,
        residues: Any,
        cache: Any,
        gaps: Any,
        rate: Any,
        app: Any,
        fine: Any,
        coarse_bounds: Any,
        fine_bounds: Any,
        world: Any,
    ) -> Any:
        return StateHandle(
            times,
            request,
            blocks,
            log,
            clock,
            number,
            lists,
            residues,
            cache,
            gaps,
            rate,
            app,
            fine,
            coarse_bounds,
            fine_bounds,
            world,
        )

    def handle(state: State) -> State:
        """What compiled functions take in place of *state*; they see the same arrays."""
        made: State = _made(*state)
        return made
