"""What pydantic finds wrong, told as errors that speak of the user's file."""

from __future__ import annotations

import difflib
import inspect
import json
import typing
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from stoker.errors import InputError
from stoker.resources.document import Origin, Path
from stoker.resources.scalars import plain

_INT32 = 2**31
IN_QUOTES = "put it in quotes"


def _whole(value: Any) -> Any:
    """``1000.0`` is an integer to the API server, ``true`` is not."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def go_text(value: Any) -> Any:
    """What Go's ``%v`` makes of a scalar, as ``| quote`` in a chart does; others are left alone."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value) if isinstance(value, int | float) else value


def _rendered(value: Any) -> Any:
    """A chart writes a value into its template without quotes, so that ``"3"`` becomes ``3``."""
    return plain(value) if isinstance(value, str) else value


Int32 = Annotated[int, BeforeValidator(_whole), Field(ge=-_INT32, lt=_INT32)]
RenderedInt = Annotated[Int32, BeforeValidator(_rendered)]
Text = Annotated[str, BeforeValidator(go_text)]


class Model(BaseModel):
    """A part of a resource: camelCase names, nothing unknown, nothing converted."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        extra="forbid",
        frozen=True,
        strict=True,
        populate_by_name=True,
        defer_build=True,  # a run meets few of all kinds
    )


class PartialModel(Model):
    """A part of a resource of which only some fields concern us; ``others`` may stand there too."""

    model_config = ConfigDict(extra="ignore")
    others: ClassVar[frozenset[str]] = frozenset()


AnyModel = TypeVar("AnyModel", bound=BaseModel)


def validate(
    model: type[AnyModel], value: object, origin: Origin, path: Path = ()
) -> tuple[AnyModel | None, tuple[InputError, ...]]:
    """*value*, which stands at *path* of *origin*, as a *model*, or everything that is wrong."""
    valid, errors, unknown = sift(model, value, origin, path)
    return (None if unknown else valid), (*errors, *unknown)


def sift(
    model: type[AnyModel], value: object, origin: Origin, path: Path = ()
) -> tuple[AnyModel | None, tuple[InputError, ...], tuple[InputError, ...]]:
    """As :func:`validate`, with the fields apart that no partial model inside *model* knows.

    The last part of the result are those: Helm and controllers take no notice of them.
    """
    unknown = tuple(
        _unknown(model, location, origin, path) for location in _unknown_keys(model, value)
    )
    try:
        return model.model_validate(value), (), unknown
    except ValidationError as error:
        problems = error.errors(include_url=False)
        return None, tuple(_tell(model, problem, origin, path) for problem in problems), unknown


def _unknown_keys(model: type[BaseModel], value: object) -> Iterator[Path]:
    """The keys inside *value* that neither a partial model nor its ``others`` know."""
    if not isinstance(value, dict):
        return
    if issubclass(model, PartialModel):
        known = {*fields(model), *model.others}
        yield from ((key,) for key in value if key not in known)
    for key, inner in _parts(model):
        part = value.get(key)
        if part is None:
            continue
        if isinstance(part, list):
            for index, item in enumerate(part):
                yield from ((key, index, *rest) for rest in _unknown_keys(inner, item))
        else:
            yield from ((key, *rest) for rest in _unknown_keys(inner, part))


@cache
def _parts(model: type[BaseModel]) -> tuple[tuple[str, type[BaseModel]], ...]:
    """The fields of *model* that hold models, by the names that users write."""
    return tuple(
        (field.alias or name, inner)
        for name, field in model.model_fields.items()
        if (inner := _inner_model(field.annotation)) is not None
    )


def _unknown(model: type[BaseModel], location: Path, origin: Origin, path: Path) -> InputError:
    full = path + location
    where = origin.name(full[:-1])
    return InputError(
        f"unknown field `{location[-1]}`" + (f" in `{where}`" if where else ""),
        hint=did_you_mean(str(location[-1]), _known(_model_at(model, location[:-1])))
        or _belongs_above(model, location, origin, path),
        place=origin.place(full, key=True),
    )


def _known(model: type[BaseModel] | None) -> tuple[str, ...]:
    others = model.others if model is not None and issubclass(model, PartialModel) else ()
    return (*fields(model), *others)


def _belongs_above(
    model: type[BaseModel], location: Path, origin: Origin, path: Path
) -> str | None:
    """A hint where the field is one of something further out: the usual slip of indentation."""
    for depth in range(len(location) - 2, -1, -1):
        if location[-1] in _known(_model_at(model, location[:depth])):
            outer = origin.name(path + location[:depth])
            return f"it belongs in `{outer}`" if outer else "it belongs at the top"
    return None


def _tell(model: type[BaseModel], problem: Any, origin: Origin, path: Path) -> InputError:
    location = tuple(part for part in problem["loc"] if part != "[key]")
    full = path + location
    kind, value, context = problem["type"], problem["input"], problem.get("ctx", {})
    name = f"`{origin.name(full)}`"
    if kind == "extra_forbidden":
        return _unknown(model, location, origin, path)
    if kind == "missing":
        return InputError(f"{name} is required", place=origin.place(full[:-1], key=True))
    return InputError(
        f"{name} {_requirement(kind, context, value)}",
        hint=_hint(kind, full, value),
        place=origin.place(full),
    )


_WANTED = {
    "string_type": "a string",
    "int_type": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "greater_than_equal": "at least {ge}",
    "greater_than": "more than {gt}",
    "less_than_equal": "at most {le}",
    "less_than": "less than {lt}",
    "literal_error": "{expected}",
}


def _requirement(kind: str, context: dict[str, Any], value: object) -> str:
    if kind in _WANTED:
        return f"must be {_WANTED[kind].format(**context)}, not {describe(value)}"
    if kind in {"too_short", "string_too_short"}:
        return "must not be empty"
    if kind == "value_error":
        return str(context["error"])
    return f"is not valid ({kind.replace('_', ' ')}): {describe(value)}"


def _hint(kind: str, path: Path, value: object) -> str | None:
    if kind == "string_type" and isinstance(value, int | float) and path:
        return f'{IN_QUOTES}: `{path[-1]}: "{json.dumps(value)}"`'
    if kind == "list_type" and isinstance(value, dict):
        return "begin each item with `- `"
    return None


def describe(value: object) -> str:
    """What was found, for the end of a sentence."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case dict():
            return "a mapping"
        case list():
            return "a list"
        case str():
            return f"the text {json.dumps(value, ensure_ascii=False)}"
        case _:
            return f"{value}"


def fields(model: type[BaseModel] | None) -> tuple[str, ...]:
    """The names of a model's fields as users write them."""
    if model is None:
        return ()
    return tuple(field.alias or name for name, field in model.model_fields.items())


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """A hint where *word* is nearly one of *known*."""
    by_lower = {name.lower(): name for name in known}
    near = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.7)
    return f"did you mean `{by_lower[near[0]]}`?" if near else None


def _model_at(model: type[BaseModel], path: Path) -> type[BaseModel] | None:
    """The model of what stands at *path* inside *model*."""
    current: Any = model
    for part in path:
        if isinstance(part, int) or current is None:
            continue
        field = next((f for n, f in current.model_fields.items() if part in (f.alias, n)), None)
        current = _inner_model(field.annotation) if field is not None else None
    return typing.cast("type[BaseModel] | None", current)


def _inner_model(annotation: Any) -> type[BaseModel] | None:
    """The model inside ``tuple[Trigger, ...] | None``."""
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return annotation
    for argument in typing.get_args(annotation):
        found = _inner_model(argument)
        if found is not None:
            return found
    return None
