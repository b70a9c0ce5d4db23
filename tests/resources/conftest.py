"""Bundles from text."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Callable

import pytest

from stoker.errors import InputErrors
from stoker.resources import Bundle, load


@pytest.fixture
def bundle() -> Callable[..., Bundle]:
    """What `load` makes of a text."""
    return lambda text, **options: load(["-"], stdin=io.StringIO(textwrap.dedent(text)), **options)


@pytest.fixture
def faults(bundle: Callable[..., Bundle]) -> Callable[[str], list[tuple[str, str | None]]]:
    """The errors of a text, each as `place: message` and hint."""

    def faults_of(text: str) -> list[tuple[str, str | None]]:
        with pytest.raises(InputErrors) as caught:
            bundle(text)
        return [(str(error), error.hint) for error in caught.value.errors]

    return faults_of
