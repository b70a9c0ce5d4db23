"""The state as compiled functions take it: one address in place of all arrays.

A tuple of arrays as an argument would make the compiler twice as slow, and its code, too. So would
objects that the compiled code counts references of: it spends a quarter of its time on that. Here
it gets a table of where the arrays are, which Python keeps alive as long as it has the handle.
Without Numba the handle is the tuple itself.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np

from stoker.simulator.fleet.state import State

try:
    from llvmlite import ir  # type: ignore[import-untyped]
    from numba import types
    from numba.core import cgutils
    from numba.core.datamodel import models
    from numba.core.typing.templates import AttributeTemplate
    from numba.extending import (
        NativeValue,
        infer_getattr,
        lower_getattr_generic,
        register_model,
        typeof_impl,
        unbox,
    )
    from numba.np.arrayobj import make_array, populate_array
except ImportError:  # the extra `replay` is not installed

    def handle(state: State) -> State:
        """*state* itself."""
        return state

else:
    _FLOATS = frozenset({"times", "clock", "rate", "coarse_bounds", "fine_bounds"})
    _DIMENSIONS = {"lists": 3, "cache": 3, "coarse_bounds": 1, "fine_bounds": 1, "world": 1}
    _WORDS = 4  # a row of the table: the address, and up to three lengths

    # All are contiguous.
    _ARRAYS = {
        field: types.Array(
            types.float64 if field in _FLOATS else types.int64, _DIMENSIONS.get(field, 2), "C"
        )
        for field in State._fields
    }

    class Handle:
        """What Python has of it."""

        def __init__(self, state: State) -> None:
            self.arrays = state
            self.table = np.zeros((len(state), _WORDS), np.int64)
            for row, array, type_ in zip(self.table, state, _ARRAYS.values(), strict=True):
                known = array.ndim == type_.ndim and str(array.dtype) == str(type_.dtype)
                if not (known and array.flags.c_contiguous):
                    raise ValueError(f"compiled functions expect {type_}, not {array.shape}")
                row[0] = array.ctypes.data
                row[1 : 1 + array.ndim] = array.shape
            self.address = self.table.ctypes.data

    def _sources() -> int:
        """Changes with any of the compiled modules.

        Machine code is kept by the types of its arguments and the age of its own file, and what it
        calls in others is part of it: the type tells that they have changed.
        """
        digest = 0
        for path in sorted(Path(__file__).parent.glob("*.py")):
            digest = zlib.crc32(path.read_bytes(), digest)
        return digest

    class StateType(types.Type):
        """Its attributes are the arrays."""

        def __init__(self) -> None:
            super().__init__(name=f"FleetState{_sources():08x}")

    _TYPE = StateType()

    @typeof_impl.register(Handle)  # type: ignore[untyped-decorator]
    def _type_of(_value: Any, _context: Any) -> Any:
        return _TYPE

    @register_model(StateType)
    class _Model(models.PrimitiveModel):
        def __init__(self, manager: Any, type_: Any) -> None:
            super().__init__(manager, type_, ir.IntType(64))

    @unbox(StateType)  # type: ignore[untyped-decorator]
    def _unbox(_type: Any, value: Any, context: Any) -> Any:
        address = context.pyapi.object_getattr_string(value, "address")
        native = context.pyapi.long_as_longlong(address)
        context.pyapi.decref(address)
        return NativeValue(
            native, is_error=cgutils.is_not_null(context.builder, context.pyapi.err_occurred())
        )

    @infer_getattr
    class _Attributes(AttributeTemplate):
        key = StateType

        def generic_resolve(self, _type: Any, field: str) -> Any:
            return _ARRAYS.get(field)

    @lower_getattr_generic(StateType)  # type: ignore[untyped-decorator]
    def _get(context: Any, builder: Any, _type: Any, address: Any, field: str) -> Any:
        """The array of a field, that nobody counts references of."""
        type_, word = _ARRAYS[field], ir.IntType(64)
        row = builder.add(address, word(State._fields.index(field) * _WORDS * 8))
        row = builder.inttoptr(row, word.as_pointer())
        words = []
        for i in range(1 + type_.ndim):
            loaded = builder.load(builder.gep(row, [word(i)]))
            # the table stays as it is, whatever is written elsewhere
            loaded.set_metadata("invariant.load", builder.module.add_metadata([]))
            words.append(loaded)
        array = make_array(type_)(context, builder)
        data = builder.inttoptr(words[0], array.data.type)
        strides: list[Any] = []
        size = word(8)
        for length in reversed(words[1:]):
            strides.insert(0, size)
            size = builder.mul(size, length)
        populate_array(array, data, words[1:], strides, word(8), None)
        return array._getvalue()  # noqa: SLF001 - the one way to it

    def handle(state: State) -> State:
        """What compiled functions take in place of *state*; they see the same arrays."""
        made: Any = Handle(state)
        return made
