"""The state as compiled functions take it: one pointer in place of all arrays.

A tuple of arrays as an argument would make the compiler twice as slow, and its code, too. Without
Numba it is the tuple itself.
"""

from __future__ import annotations

from typing import Any

from stoker.simulator.fleet.state import (
    State,
)

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

    def handle(state: State) -> State:
        """What compiled functions take in place of *state*; they see the same arrays."""
        made: State = StateHandle(*state)
        return made
