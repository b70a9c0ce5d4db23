"""Compiled modules of the gateway, if there are any, in the place of those in Python.

``make compiled`` writes them into this folder, with ``manifest.json``: which module is in which
file, and a digest of the source that it was made of. As soon as one source is not what it was, all
are left alone: what runs is always what the source says.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType

#: "0": Python only. "1": an error if there is nothing compiled that could be used.
SWITCH = "STOKER_COMPILED"
HERE = Path(__file__).parent
SOURCES = HERE.parents[2]
MANIFEST = HERE / "manifest.json"


class _Finder(MetaPathFinder):
    """Finds the modules of a manifest."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self._files = files

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,  # noqa: ARG002 - the interface's
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        """The compiled file of *fullname*."""
        file = self._files.get(fullname)
        return None if file is None else spec_from_file_location(fullname, HERE / file)


def find_compiled() -> bool:
    """Let compiled modules be imported, if they are those of this source and of this Python."""
    wanted = os.environ.get(SWITCH, "")
    if wanted == "0":
        return False
    why = why_not()
    if why is None:
        files = json.loads(MANIFEST.read_text(encoding="utf-8"))["files"]
        sys.meta_path.insert(0, _Finder(files))
        return True
    if wanted == "1":
        raise ImportError(f"{SWITCH}=1, but {why}; `make compiled` makes them")
    return False


def why_not(path: Path = MANIFEST, sources: Path = SOURCES) -> str | None:
    """Why what the manifest at *path* lists cannot be used; None if it can.

    Args:
        path: The manifest.
        sources: The folder that its sources are in.
    """
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        return "there are no compiled modules"
    except ValueError:
        return "their manifest is not whole"
    if manifest["python"] != sys.implementation.cache_tag:
        return f"the compiled modules are for {manifest['python']}"
    for source, digest in manifest["sources"].items():
        if digest_of(sources / source) != digest:
            return f"{source} has changed since"
    return None


def digest_of(path: Path) -> str | None:
    """A digest of a source, None if it is not there."""
    try:
        return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
    except OSError:
        return None
