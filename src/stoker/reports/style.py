"""The look of figures and pages, light and dark, on screen and in print: files in ``assets``."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

# what stands for red where there is no colour
PATTERNS = (
    '<defs><pattern id="hatch" width="5" height="5" patternUnits="userSpaceOnUse" '
    'patternTransform="rotate(45)"><path class="hatching" d="M0 0V5"/></pattern></defs>'
)


@cache
def asset(name: str) -> str:
    """A style sheet or a script, as text."""
    return files("stoker.reports").joinpath("assets", name).read_text(encoding="utf-8")
