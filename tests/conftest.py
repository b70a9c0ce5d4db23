"""What all tests share: real programs that may be missing, and the large recordings."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

import pytest

# What a test may need that pip cannot bring, and how to get it.
PROGRAMS = {
    "chromium": "apt-get install chromium",
    "curl": "apt-get install curl",
    "prometheus": "apt-get install prometheus",
    "promtool": "apt-get install prometheus",
    "epmd": "apt-get install rabbitmq-server",
    "rabbitmq-server": "apt-get install rabbitmq-server",
    "redis-cli": "apt-get install redis-server",
    "redis-server": "apt-get install redis-server",
}
_missing: dict[str, list[str]] = {}


def pytest_configure() -> None:
    """Say that there is no event loop yet.

    pytest-asyncio asks for the current one before its first test; Python 3.11 would make one for
    the answer, and the garbage collector would fail some later test because nobody closed it.
    """
    asyncio.set_event_loop(None)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests that are marked ``needs("program")`` without it; in CI that is a failure."""
    for marker in item.iter_markers("needs"):
        for program in marker.args:
            if shutil.which(program):
                continue
            how = PROGRAMS[program]
            if os.environ.get("STOKER_REQUIRE_ALL") == "1":
                pytest.fail(f"`{program}` is missing and STOKER_REQUIRE_ALL is set: {how}")
            _missing.setdefault(program, []).append(item.nodeid)
            pytest.skip(f"`{program}` is not installed: {how}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name what was not tested, and how to get it tested."""
    if not _missing:
        return
    terminalreporter.section("not tested on this machine")
    for program, tests in sorted(_missing.items()):
        terminalreporter.line(f"{len(tests)} tests need `{program}`: {PROGRAMS[program]}")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The large recordings, which are not part of the repository. Skips where they are absent."""
    root = Path(os.environ.get("STOKER_SHARED", Path(__file__).parents[2] / "shared"))
    data = root / "data"
    if not data.is_dir():
        pytest.skip(f"the large recordings are not at {root} (set STOKER_SHARED)")
    return data
