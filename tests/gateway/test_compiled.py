"""Compiled modules take the place of those in Python only while they are made of them."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from stoker.gateway import _compiled
from stoker.gateway._compiled import digest_of, why_not


@pytest.fixture
def manifest(tmp_path):
    """Writes a manifest of one source that is in the same folder."""
    source = tmp_path / "plane.py"
    source.write_text("pass\n")
    path = tmp_path / "manifest.json"

    def write(**changed: object) -> None:
        fits = {
            "python": sys.implementation.cache_tag,
            "files": {},
            "sources": {"plane.py": digest_of(source)},
        }
        path.write_text(json.dumps(fits | changed))

    write()
    return path, write


def test_modules_of_this_source_and_this_python_are_used(manifest):
    path, _ = manifest
    assert why_not(path, path.parent) is None


def test_a_source_that_has_changed_leaves_all_alone(manifest):
    path, _ = manifest
    (path.parent / "plane.py").write_text("raise SystemExit\n")
    assert why_not(path, path.parent) == "plane.py has changed since"


def test_a_source_that_is_gone_leaves_all_alone(manifest):
    path, _ = manifest
    (path.parent / "plane.py").unlink()
    assert why_not(path, path.parent) == "plane.py has changed since"


def test_modules_of_another_python_are_left_alone(manifest):
    path, write = manifest
    write(python="cpython-27")
    assert why_not(path, path.parent) == "the compiled modules are for cpython-27"


def test_without_a_manifest_there_is_nothing(manifest):
    path, _ = manifest
    path.write_text("{")
    assert why_not(path, path.parent) == "their manifest is not whole"
    path.unlink()
    assert why_not(path, path.parent) == "there are no compiled modules"


@pytest.mark.parametrize("compiled", [False, True])
def test_what_runs_is_what_was_asked_for(compiled):
    """`make test` runs this folder both ways; this is how it knows."""
    if compiled and why_not() is not None:
        pytest.skip(f"{why_not()}: `make compiled`")
    script = "import stoker.gateway.plane as p; print(p.__file__)"
    file = subprocess.run(
        [sys.executable, "-c", script],
        env={_compiled.SWITCH: str(int(compiled))},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    assert file.endswith(".so" if compiled else "plane.py")


def test_who_insists_on_compiled_modules_hears_why_there_are_none(monkeypatch):
    monkeypatch.setenv(_compiled.SWITCH, "1")
    monkeypatch.setattr(_compiled, "why_not", lambda: "there are no compiled modules")
    with pytest.raises(ImportError, match="no compiled modules; `make compiled` makes them"):
        _compiled.find_compiled()
