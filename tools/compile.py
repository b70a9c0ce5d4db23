"""Compiles the gateway's data plane: ``make compiled``.

mypyc makes C of the modules that are listed here, as they are, and Cython of `epoll.pyx`. It needs
a C compiler and Python's headers. Without them nothing is lost but speed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ROOT / "src"
GATEWAY = SOURCES / "stoker" / "gateway"
TARGET = GATEWAY / "_compiled"
#: Together: classes of one group reach into each other without Python's detours.
MODULES = (
    "access_log",
    "exchange",
    "headers",
    "heads",
    "inbound",
    "intake",
    "keys",
    "metering",
    "openai",
    "outbound",
    "page",
    "plane",
    "policy/actions",
    "policy/affinity",
    "policy/circuit",
    "policy/dispatcher",
    "policy/endpoint",
    "policy/model",
    "policy/queue",
    "policy/request",
    "policy/settings",
    "policy/turns",
    "pool",
    "recorder",
    "reframing",
    "refusals",
    "replicas",
    "report",
    "respond",
    "settings",
    "shared/dispatching",
    "spool",
    "stats",
    "sweep",
)
CYTHON = ("epoll",)
GROUP = "stoker_gateway"

SETUP = """
from Cython.Build import cythonize
from mypyc.build import mypycify
from setuptools import Extension, setup

setup(
    name="stoker-compiled",
    packages=[],
    ext_modules=[
        *mypycify(["--config-file={config}", *{modules}], opt_level="3", group_name="{group}"),
        *cythonize([Extension("stoker.gateway." + n, ["src/stoker/gateway/" + n + ".pyx"])
                    for n in {cython}], language_level=3),
    ],
)
"""


def main() -> int:
    """Compile all. 0: done, or it cannot be done here and that is no error."""
    headers = Path(sysconfig.get_paths()["include"]) / "Python.h"
    compiler = os.environ.get("CC", "cc")
    if shutil.which(compiler) is None or not headers.exists():
        print(
            f"Not compiled: there is no `{compiler}`, or no {headers}. The gateway runs as it is."
        )
        return int(bool(os.environ.get("STOKER_REQUIRE_ALL")))  # where nothing may be missing
    with tempfile.TemporaryDirectory() as folder:
        built = _build(Path(folder))
        if built is None:
            return 1
        _install(built)
    print(f"Compiled {len(MODULES) + len(CYTHON)} modules of the gateway.")
    return 0


def _build(folder: Path) -> Path | None:
    """Compile in *folder*, where the sources are copied to; mypyc writes beside them."""
    shutil.copytree(SOURCES / "stoker", folder / "src" / "stoker", ignore=_only_sources)
    shutil.copy(ROOT / "pyproject.toml", folder)
    modules = [f"src/stoker/gateway/{name}.py" for name in MODULES]
    text = SETUP.format(config="pyproject.toml", modules=modules, cython=CYTHON, group=GROUP)
    (folder / "setup.py").write_text(text)
    done = subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext", "--build-lib", "out"],
        cwd=folder,
        env={**os.environ, "MYPYPATH": "src", "STOKER_COMPILED": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        print(done.stdout + done.stderr, file=sys.stderr)
        print("error: the gateway could not be compiled", file=sys.stderr)
        return None
    return folder / "out"


def _only_sources(_folder: str, names: list[str]) -> set[str]:
    return {name for name in names if name == "__pycache__" or name.endswith(".so")}


def _install(built: Path) -> None:
    """Move the files into their folder, and write down what they were made of."""
    sys.path.insert(0, str(SOURCES))
    os.environ["STOKER_COMPILED"] = "0"
    from stoker.gateway._compiled import digest_of  # after the switch above

    for old in (*TARGET.glob("*.so"), TARGET / "manifest.json"):
        old.unlink(missing_ok=True)
    files: dict[str, str] = {}
    for file in sorted(built.rglob("*.so")):
        module = ".".join((*file.relative_to(built).parts[:-1], file.name.partition(".")[0]))
        files[module] = file.name if "." not in module else f"{module}.so"
        shutil.copy(file, TARGET / files[module])
    sources = [f"stoker/gateway/{name}.py" for name in MODULES]
    sources += [f"stoker/gateway/{name}.pyx" for name in CYTHON]
    manifest = {
        "python": sys.implementation.cache_tag,
        "files": files,
        "sources": {source: digest_of(SOURCES / source) for source in sources},
    }
    (TARGET / "manifest.json").write_text(json.dumps(manifest, indent=1))


if __name__ == "__main__":
    sys.exit(main())
