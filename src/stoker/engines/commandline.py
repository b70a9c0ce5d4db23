"""Reading and rewriting the command line of a vLLM server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stoker.engines.flags import flag_name, split_flag, without_options
from stoker.errors import InputError
from stoker.resources.workload import Workload

_API_SERVER = "vllm.entrypoints.openai.api_server"


@dataclass(frozen=True, slots=True)
class ServeCommand:
    """What follows ``vllm serve``: the model, and its arguments as they were written."""

    model: str
    arguments: tuple[str, ...]

    def replacing(self, **options: object) -> tuple[str, ...]:
        """The arguments with *options* set, in place of what they said: ``port=8001``."""
        kept = without_options(self.arguments, {flag_name(name) for name in options})
        added = [text for name, value in options.items() for text in (flag_name(name), str(value))]
        return (*kept, *added)

    def has(self, name: str) -> bool:
        """Whether the option is given: ``shutdown_timeout``."""
        flag = flag_name(name)
        return any(split_flag(text)[0] == flag for text in self.arguments)


def serve_command(workload: Workload) -> ServeCommand:
    """The ``vllm serve`` command of *workload*, or InputError when it is another program."""
    command = workload.command
    names = [text.rsplit("/", 1)[-1] for text in command]
    if "vllm" in names and "serve" in names[names.index("vllm") + 1 :][:1]:
        return _with_model(workload, command[names.index("vllm") + 2 :])
    if _API_SERVER in command:
        return _with_model(workload, command[command.index(_API_SERVER) + 1 :])
    written = " ".join(command) or "(no command)"
    raise InputError(
        f"the container of {workload.name} does not run vLLM: {written}",
        hint="a command that begins with `vllm serve MODEL`",
    )


def _with_model(workload: Workload, arguments: Sequence[str]) -> ServeCommand:
    if arguments and not arguments[0].startswith("-"):
        return ServeCommand(arguments[0], tuple(arguments[1:]))
    for index, text in enumerate(arguments):
        flag, value = split_flag(text)
        if flag == "--model":
            model = value if value is not None else "".join(arguments[index + 1 : index + 2])
            return ServeCommand(model, without_options(arguments, {"--model"}))
    return ServeCommand(workload.model, tuple(arguments))
