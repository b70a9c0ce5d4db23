"""What a vLLM command line says: the model, the names it is served under, the port."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from itertools import pairwise
from string import Template

DEFAULT_PORT = 8000
_SHELLS = {"sh", "bash", "dash", "ash"}
_MODULE = "vllm.entrypoints.openai.api_server"
_SHELL_SYNTAX = re.compile(r"[;&|<>`()\n]|\$\(")
_ENTRYPOINT = ("vllm", "serve")  # of the image vllm/vllm-openai


def full_command(
    command: Sequence[str], args: Sequence[str], env: Mapping[str, str]
) -> tuple[str, ...]:
    """What runs. Without *command* the image's own entry point does; a simple shell is unwrapped.

    ``sh -c "exec vllm serve X"`` becomes ``vllm serve X`` where the shell does nothing else.
    """
    whole = (*command, *args) if command else (*_ENTRYPOINT, *args)
    script = _script(whole)
    if script is None or _SHELL_SYNTAX.search(script.replace("\\\n", " ").strip()):
        return whole
    words = _words(script, env)
    return tuple(words[1:] if words[:1] == ["exec"] else words) or whole


def runs_vllm(command: Sequence[str]) -> bool:
    """Whether the command starts an OpenAI server of vLLM."""
    words = _flat(command)
    return _MODULE in words or any(
        word.rsplit("/", 1)[-1] == "vllm" and following == "serve"
        for word, following in pairwise(words)
    )


def served_names(command: Sequence[str]) -> tuple[str, ...]:
    """The names that requests may carry in ``model``, the first being vLLM's ``model_name``."""
    words = _flat(command)
    names = _options(words, "--served-model-name")
    if names:
        return names
    model = _options(words, "--model")
    if not model and "serve" in words:
        following = words[words.index("serve") + 1 :][:1]
        model = tuple(word for word in following if not word.startswith("-"))
    return model[:1]


def port(command: Sequence[str]) -> int | None:
    """``--port``, None when it is not given or not a number."""
    value = _options(_flat(command), "--port")
    return int(value[0]) if value and value[0].isdecimal() else None


def _options(words: Sequence[str], name: str) -> tuple[str, ...]:
    """All values of an option, with `-` or `_` in its name; the last time it is given counts."""
    spellings = {name, name.replace("-", "_").replace("__", "--", 1)}
    found: tuple[str, ...] = ()
    for index, word in enumerate(words):
        head, equals, value = word.partition("=")
        if head not in spellings:
            continue
        if equals:
            found = (value,)
            continue
        rest = list(words[index + 1 :])
        end = next((i for i, item in enumerate(rest) if item.startswith("-")), len(rest))
        found = tuple(rest[:end])
    return found


def _script(command: Sequence[str]) -> str | None:
    """The script of ``sh -c``, None for another command."""
    if not command or command[0].rsplit("/", 1)[-1] not in _SHELLS:
        return None
    for index, word in enumerate(command[1:], 1):
        if re.fullmatch(r"-[a-z]*c", word) and index + 1 < len(command):
            return command[index + 1]
    return None


def _words(script: str, env: Mapping[str, str]) -> list[str]:
    try:
        return shlex.split(Template(script).safe_substitute(env))
    except ValueError:  # an open quote: the shell will say so
        return []


def _flat(command: Sequence[str]) -> list[str]:
    """The words of a command, those of a shell script among them."""
    script = _script(command)
    return list(command) if script is None else _words(script, {})
