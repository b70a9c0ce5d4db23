"""Records that are made by the million: frozen dataclasses whose constructor is quick.

A frozen dataclass sets each field through ``object.__setattr__``, and ``dataclasses.replace`` looks
at every field on top; together they were a third of a backtest. :func:`quick` gives such a class an
``__init__`` that fills a twin without the lock and then turns it into the class, which Python
allows between classes of the same slots, and the ``__replace__`` of Python 3.13 by the same way.
Nothing else changes: instances compare, print, pickle and refuse assignment as before.
"""

from __future__ import annotations

from dataclasses import MISSING, Field, fields
from typing import TYPE_CHECKING, Any, TypeVar

__all__ = ["quick", "replace"]

_T = TypeVar("_T")
_KEPT: Any = object()  # in the place of a field that was not given

if TYPE_CHECKING:
    from dataclasses import replace
else:

    def replace(record: Any, /, **changes: Any) -> Any:
        """A copy of *record*, of a class that is :func:`quick`, with some fields changed.

        Raises:
            TypeError: there is no such field.
        """
        return record.__replace__(**changes)


def quick(cls: type[_T]) -> type[_T]:
    """*cls*, a frozen dataclass with slots, with a constructor that costs a fifth.

    Raises:
        TypeError: the class is none of those that this can be done with.
    """
    named = fields(cls)  # type: ignore[arg-type]
    names = [f.name for f in named]
    plain = cls.__bases__ == (object,) and list(getattr(cls, "__slots__", ())) == names
    if not plain or hasattr(cls, "__post_init__") or not all(f.init for f in named):
        raise TypeError(f"{cls.__name__} is not a plain dataclass with slots")
    twin = type(cls.__name__, (), {"__slots__": tuple(names)})
    scope = {"twin": twin, "cls": cls, "new": object.__new__, "lock": object.__setattr__}
    scope |= {"KEPT": _KEPT}
    parameters, given = zip(*(_parameter(f, scope) for f in named), strict=True)
    made = [f"self.{name} = {value}" for name, value in zip(names, given, strict=True)]
    _define(
        cls,
        f"__init__(self, {', '.join(parameters)})",
        ["lock(self, '__class__', twin)", *made, "self.__class__ = cls"],
        scope,
    )
    kept = [f"made.{n} = self.{n} if {n} is KEPT else {n}" for n in names]
    _define(
        cls,
        f"__replace__(self, /, *, {', '.join(f'{n}=KEPT' for n in names)})",
        ["made = new(twin)", *kept, "made.__class__ = cls", "return made"],
        scope,
    )
    return cls


def _parameter(field: Field[Any], scope: dict[str, Any]) -> tuple[str, str]:
    """A field among the parameters of ``__init__``, and what is assigned to it."""
    name, default = field.name, f"default_{field.name}"
    if field.default_factory is not MISSING:
        scope[default] = field.default_factory
        return f"{name}=KEPT", f"{default}() if {name} is KEPT else {name}"
    if field.default is not MISSING:
        scope[default] = field.default
        return f"{name}={default}", name
    return name, name


def _define(cls: type, signature: str, body: list[str], scope: dict[str, Any]) -> None:
    """Compile a method of *cls*, as the dataclasses of the standard library do."""
    made: dict[str, Any] = {}
    text = "\n    ".join([f"def {signature}:", *body])
    exec(text, scope, made)  # noqa: S102 - names and defaults of a dataclass, nothing of a user
    (method,) = made.values()
    method.__qualname__ = f"{cls.__qualname__}.{method.__name__}"
    setattr(cls, method.__name__, method)
