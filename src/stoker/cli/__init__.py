"""The commands, one a file.

Only the file of the command that runs is imported: `stoker --help` is there before one wonders.
"""

from __future__ import annotations

import difflib
import importlib
import sys
from typing import Any

import click

from stoker.cli.console import TRACEBACK_FLAG, forget_stdout, run

# Name, where it lives, and its line in `stoker --help`: in the order of a first day with Stoker.
_COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("stoker.cli.demo:demo", "See a model scale up and down, in about two minutes"),
    "check": ("stoker.cli.check:check", "Say what is wrong in files, and what to write instead"),
    "render": ("stoker.cli.render:render", "Print the Kubernetes objects that files stand for"),
    "up": ("stoker.cli.up:up", "Run the files on this machine until Ctrl-C"),
    "get": ("stoker.cli.get:get", "List objects of the running stack, as kubectl does"),
    "describe": ("stoker.cli.describe:describe", "Show objects in full, with their events"),
    "logs": ("stoker.cli.logs:logs", "Print the output of a replica"),
    "top": ("stoker.cli.top:top", "Live view: replicas, queues, latencies, decisions"),
    "explain": ("stoker.cli.explain:explain", "Say why there are as many replicas as there are"),
    "query": ("stoker.cli.query:query", "Ask a PromQL query; --explain shows why it reads 0"),
    "scale": ("stoker.cli.scale:scale", "Set the replicas of a Deployment"),
    "pause": ("stoker.cli.pause:pause", "Stop autoscaling of a ScaledObject"),
    "resume": ("stoker.cli.pause:resume", "Start autoscaling of a ScaledObject again"),
    "load": ("stoker.cli.load:load", "Send OpenAI traffic and report latencies"),
    "replay": (
        "stoker.cli.replay:replay",
        "Say what files would have cost on recorded traffic, and how fast",
    ),
    "calibrate": (
        "stoker.cli.calibrate:calibrate",
        "Measure a running engine and make a profile for replays of it",
    ),
    "backtest": (
        "stoker.cli.backtest:backtest",
        "Say what a ScaledObject would have done with recorded metrics",
    ),
    "trace": ("stoker.cli.trace:trace", "Look at recorded traffic: describe, cut, scale, merge"),
    "conformance": (
        "stoker.cli.conformance:conformance",
        "Compare the core with recorded decisions of the real KEDA and HPA",
    ),
    "scaler": (
        "stoker.cli.scaler:scaler",
        "Serve triggers and formulas to an existing KEDA, as external scaler",
    ),
    "gateway": (
        "stoker.cli.gateway:gateway",
        "Run the gateway alone, in front of any OpenAI servers",
    ),
    "version": ("stoker.cli.version:version", "Print the version"),
}


class _Group(click.Group):
    """Commands that are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        module, _, name = _COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            error = click.UsageError(f"unknown command `{args[0]}`", ctx)
            close = difflib.get_close_matches(args[0], _COMMANDS, n=1)
            meant = f"did you mean `stoker {close[0]}`?" if close else "see `stoker --help`"
            error.hint = meant  # type: ignore[attr-defined]
            raise error
        return super().resolve_command(ctx, args)

    # click makes a broken pipe an exit code 1, but `get pods | head` is no error.

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        try:
            return super().make_context(info_name, args, parent, **extra)
        except BrokenPipeError:  # help was printed
            forget_stdout()
            raise click.exceptions.Exit(0) from None

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            forget_stdout()
            return 0

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in _COMMANDS.items()])


@click.command(
    cls=_Group,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Start with `stoker demo`. Every command has `--help`.",
)
@click.option(TRACEBACK_FLAG, is_flag=True, help="Show where in Stoker an unexpected error arose.")
def stoker(traceback: bool) -> None:
    """Keep LLM engines fed: autoscaling of LLM inference on one machine.

    KEDA ScaledObjects and vLLM production-stack values run here as they do on Kubernetes, with
    processes as replicas.
    """


def main() -> None:
    """Entry point of ``stoker``."""
    arguments = sys.argv[1:]
    with_traceback = TRACEBACK_FLAG in arguments
    rest = [argument for argument in arguments if argument != TRACEBACK_FLAG]

    def command() -> object:
        return stoker.main(rest, prog_name="stoker", standalone_mode=False)

    sys.exit(run(command, with_traceback=with_traceback))
