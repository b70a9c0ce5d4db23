"""The options of a command line, as vLLM writes them."""

from __future__ import annotations

from collections.abc import Sequence


def flag_name(name: str) -> str:
    """``max_model_len`` and ``--max_model_len`` are ``--max-model-len``, as vLLM reads them."""
    return "--" + name.lstrip("-").replace("_", "-")


def split_flag(text: str) -> tuple[str | None, str | None]:
    """``--port=80`` is ``("--port", "80")``, ``--port`` has no value, ``80`` is no flag."""
    if not text.startswith("--"):
        return None, None
    name, equals, value = text.partition("=")
    return flag_name(name), value if equals else None


def without_options(arguments: Sequence[str], flags: set[str]) -> tuple[str, ...]:
    """*arguments* without these options and their values."""
    kept: list[str] = []
    rest = iter(arguments)
    for text in rest:
        flag, value = split_flag(text)
        if flag not in flags:
            kept.append(text)
        elif value is None:
            next(rest, None)
    return tuple(kept)
