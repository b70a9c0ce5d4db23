"""Where the examples are: in the checkout, or in the installed package."""

from __future__ import annotations

from pathlib import Path

from stoker.errors import MachineError


def example(name: str) -> Path:
    """The file ``examples/NAME``."""
    package = Path(__file__).parents[1]
    for root in (package.parents[1] / "examples", package / "examples"):
        if (root / name).is_file():
            return _short(root / name)
    raise MachineError(
        f"the example {name} is missing",
        hint="install Stoker again, or run it from a checkout",
    )


def _short(path: Path) -> Path:
    """As a person in the current directory would write it."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
