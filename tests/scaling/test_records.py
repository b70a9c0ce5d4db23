"""Quick records are frozen dataclasses in every respect but their cost."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from dataclasses import FrozenInstanceError, dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.scaling import behavior, decision, observation, spec, state
from stoker.scaling.records import quick, replace


@dataclass(frozen=True, slots=True)
class Slow:
    """What the standard library makes."""

    name: str
    count: int = 3
    tags: dict[str, str] = field(default_factory=dict)
    secret: str = field(default="", repr=False, compare=False)


@quick
@dataclass(frozen=True, slots=True)
class Quick:
    """The same, quick."""

    name: str
    count: int = 3
    tags: dict[str, str] = field(default_factory=dict)
    secret: str = field(default="", repr=False, compare=False)


GIVEN = st.fixed_dictionaries(
    {"name": st.text()},
    optional={
        "count": st.integers() | st.none(),
        "tags": st.dictionaries(st.text(), st.text()),
        "secret": st.text(),
    },
)
CHANGES = st.fixed_dictionaries(
    {}, optional={"name": st.text(), "count": st.none() | st.integers(), "secret": st.text()}
)


@given(GIVEN, CHANGES)
def test_is_what_the_standard_library_makes(given_, changes):
    """Fields, text, equality and copies are those of a plain frozen dataclass."""
    slow, fast = Slow(**given_), Quick(**given_)
    assert dataclasses.asdict(slow) == dataclasses.asdict(fast)
    assert repr(slow).replace("Slow", "Quick") == repr(fast)
    changed = replace(fast, **changes)
    assert dataclasses.asdict(dataclasses.replace(slow, **changes)) == dataclasses.asdict(changed)
    assert changed == dataclasses.replace(fast, **changes)
    assert dataclasses.asdict(fast) == dataclasses.asdict(slow), "the original stays"


def test_a_default_factory_makes_one_for_each():
    assert Quick("a").tags is not Quick("b").tags


def test_cannot_be_assigned_to():
    """Neither one that was constructed nor one that was copied."""
    for record in (Quick("a"), replace(Quick("a"), count=4)):
        assert type(record) is Quick
        with pytest.raises(FrozenInstanceError):
            record.count = 5
        with pytest.raises(FrozenInstanceError):
            del record.name
        with pytest.raises((AttributeError, TypeError)):
            record.other = 1


def test_survives_pickle_and_deepcopy():
    record = Quick("a", tags={"b": "c"}, secret="d")
    pickled = pickle.loads(pickle.dumps(record))  # noqa: S301 - our own bytes
    for twin in (pickled, copy.deepcopy(record)):
        assert twin == record
        assert twin.secret == "d"
        assert type(twin) is Quick


@pytest.mark.parametrize("arguments", [{}, {"name": "a", "size": 1}])
def test_wrong_arguments_are_type_errors(arguments):
    with pytest.raises(TypeError, match=r"__init__"):
        Quick(**arguments)


def test_a_field_that_is_not_there_cannot_be_changed():
    with pytest.raises(TypeError, match="size"):
        replace(Quick("a"), size=1)


def test_what_cannot_be_made_quick_is_refused():
    """Rather than losing a check, a base class or a field that is computed."""

    @dataclass(frozen=True, slots=True)
    class Checked:
        name: str

        def __post_init__(self) -> None: ...

    @dataclass(frozen=True)
    class WithoutSlots:
        name: str

    @dataclass(frozen=True, slots=True)
    class Derived(Slow):
        more: int = 1

    @dataclass(frozen=True, slots=True)
    class Computed:
        name: str = field(init=False, default="")

    for cls in (Checked, WithoutSlots, Derived, Computed):
        with pytest.raises(TypeError, match=cls.__name__):
            quick(cls)


@pytest.mark.parametrize("module", [behavior, decision, observation, spec, state])
def test_every_record_of_the_core_that_is_quick_takes_its_fields_in_order(module):
    """A value in each field comes out of the same field."""
    classes = [
        c for _, c in inspect.getmembers(module, inspect.isclass) if "__replace__" in vars(c)
    ]
    assert classes
    for cls in classes:
        names = [f.name for f in dataclasses.fields(cls)]
        record = cls(*range(len(names)))
        assert [getattr(record, name) for name in names] == list(range(len(names)))
        again = replace(record, **{names[-1]: "last"})
        assert [getattr(again, name) for name in names] == [*range(len(names) - 1), "last"]
