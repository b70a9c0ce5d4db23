"""Files, standard input and YAML: what is read, and that every fault is told with its place."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from stoker.resources.document import Document
from stoker.resources.loading import MAX_BYTES, load_documents


def read(text: str) -> tuple[list[object], list[str]]:
    documents, errors = load_documents(["-"], io.StringIO(text))
    return [document.value for document in documents], [str(error) for error in errors]


def one(text: str) -> Document:
    documents, errors = load_documents(["-"], io.StringIO(text))
    assert not errors
    return documents[0]


def test_a_broken_document_does_not_hide_the_others_nor_their_faults() -> None:
    values, errors = read("a: 1\n---\nfoo: [\n---\nb: 2\n---\nb: 1\nb: 2\n")
    assert values == [{"a": 1}, {"b": 2}]
    assert len(errors) == 2
    assert errors[0].startswith("<stdin>:")
    assert errors[1].startswith("<stdin>:8:1: the key `b` is given twice, first in line 7")


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("", "<stdin>", "empty"),
        ("# only a comment\n---\n...\n", "<stdin>", "empty"),
        ("- a\n", "<stdin>:1:1", "found a list"),
        ("just text\n", "<stdin>:1:1", "found a single value"),
        ("a:\n\tb: 1\n", "<stdin>:2:1", "tab"),
        ("a: b: c\n", "<stdin>:1:5", "mapping values are not allowed"),
        ("key: 'open\n", "<stdin>:2:1", "unexpected end"),
        ("a: \x01\n", "<stdin>:1", "is not allowed"),
        ("a: !thing 3\n", "<stdin>:1:4", "the YAML tag `!thing`"),
        ("a: !!int x\n", "<stdin>:1:4", "'x' is not a YAML int"),
        ("a: &x [*x]\n", "<stdin>:1:8", "contains itself"),
        ("a: *x\n", "<stdin>:1:4", "no anchor before it"),
        ("{{ .Values }}: 1\n", "<stdin>:1:1", "a key must be a plain name"),
        ("~: 1\n", "<stdin>:1:1", "a key has no name"),
        ("a: {<<: 3}\n", "<stdin>:1:9", "`<<` takes a mapping"),
        ("a: " + "[" * 101 + "]" * 101, "<stdin>:1:103", "nested more than 100"),
    ],
)
def test_a_fault_is_told_with_its_place(text: str, place: str, message: str) -> None:
    values, errors = read(text)
    assert values == []
    assert len(errors) == 1
    assert errors[0].startswith(f"{place}: ")
    assert message in errors[0]


def test_aliases_that_expand_to_millions_are_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    _, errors = read("\n".join(lines))
    assert len(errors) == 1
    assert "more than 200,000 values" in errors[0]


def test_merge_keys_do_not_override_what_is_written() -> None:
    values, _ = read("base: &b {x: 1, z: 2}\nmine:\n  <<: *b\n  z: 3\n")
    assert values == [{"base": {"x": 1, "z": 2}, "mine": {"x": 1, "z": 3}}]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("yes", True), ("Off", False), ("y", True), ("~", None), ("", None),
        ("010", 8), ("0x10", 16), ("0o17", 15), ("1_000", 1000), ("+5", 5), ("-7", -7),
        ("1e3", 1000.0), (".5", 0.5), ("5.", 5.0), ("1:30", "1:30"), ("2026-11-22", "2026-11-22"),
        ("'yes'", "yes"), ('"5"', "5"), ("!!str 5", "5"), ("!!float 5", 5.0),
        ("99999999999999999999", 1e20), ("08", 8.0), ("1e400", "1e400"), ("10Gi", "10Gi"),
    ],
)  # fmt: skip
def test_plain_scalars_mean_what_a_go_reader_takes_them_for(written: str, value: object) -> None:
    result = one(f"key: {written}\n").value["key"]
    assert result == value
    assert type(result) is type(value)


def test_keys_become_the_names_of_json() -> None:
    assert one("on: 1\n8: 2\n'no': 3\n").value == {"true": 1, "8": 2, "no": 3}


def test_every_key_and_value_knows_its_place() -> None:
    document = one("# head\na:\n  - b: {c: 1}\n    d:   two\n")
    assert str(document.place(("a", 0, "b", "c"))) == "<stdin>:3:12"
    assert str(document.place(("a", 0, "b", "c"), key=True)) == "<stdin>:3:9"
    assert str(document.place(("a", 0, "d"))) == "<stdin>:4:10"


def test_the_place_of_something_missing_is_the_key_around_it() -> None:
    document = one("spec:\n  target:\n    name: x\n")
    assert str(document.place(("spec", "target", "kind"))) == "<stdin>:2:3"


def test_places_count_lines_of_the_file_not_of_the_document() -> None:
    documents, _ = load_documents(["-"], io.StringIO("a: 1\n---\nb: 1\n--- # c\nd:\n  e: 5\n"))
    assert str(documents[2].place(("d", "e"))) == "<stdin>:6:6"


def test_a_directory_is_read_by_name_and_not_below(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text("name: b")
    (tmp_path / "a.yml").write_text("name: a")
    (tmp_path / "c.json").write_text('{"name": "c"}')
    (tmp_path / "notes.txt").write_text("[")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "d.yaml").write_text("name: d")
    documents, errors = load_documents([str(tmp_path)])
    assert [document.value["name"] for document in documents] == ["a", "b", "c"]
    assert errors == ()


def test_files_that_cannot_be_read_are_all_told(tmp_path: Path) -> None:
    (tmp_path / "values.yaml").write_text("a: 1")
    (tmp_path / "latin.yaml").write_bytes("a: 1\nb: \xe4\n".encode("latin-1"))
    (tmp_path / "empty").mkdir()
    (tmp_path / "long.yaml").write_bytes(b"#" * (MAX_BYTES + 1))
    names = ["values.yml", "latin.yaml", "empty", "long.yaml"]
    _, errors = load_documents([str(tmp_path / name) for name in names])
    assert [error.message for error in errors] == [
        "no such file or directory",
        "not UTF-8 text",
        "no .yaml, .yml or .json file in this directory",
        "longer than 10 MB",
    ]
    assert errors[0].hint == f"did you mean `{tmp_path / 'values.yaml'}`?"
    assert errors[1].place is not None
    assert errors[1].place.line == 2


def test_a_byte_order_mark_and_windows_lines_are_read(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_bytes(b"\xef\xbb\xbfa: 1\r\n---\r\nb: 2\r\n")
    documents, errors = load_documents([str(file)])
    assert [document.value for document in documents] == [{"a": 1}, {"b": 2}]
    assert errors == ()


_SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=20)
_TREES = st.recursive(
    _SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(st.dictionaries(st.text(max_size=8), _TREES, min_size=1, max_size=4))
def test_what_is_written_is_read_again(value: dict[str, object]) -> None:
    text = yaml.safe_dump(value, default_style='"', allow_unicode=False)
    values, errors = read(text)
    assert errors == []
    assert values == [value]
