from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def recorded_empty():
    """What kubectl says when there is nothing."""
    return Path(__file__).parents[1] / "data" / "kubectl" / "empty"
