"""What a command says when it cannot do what it was asked, and with which code it ends.

0 done, 1 the answer is no (not found, findings), 2 an error, 130 interrupted.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from typing import TextIO

import click

from stoker.errors import InputErrors, StokerError

EXIT_NO = 1
EXIT_ERROR = 2
EXIT_INTERRUPTED = 130
TRACEBACK_FLAG = "--traceback"
_TRACEBACK_VARIABLE = "STOKER_TRACEBACK"


def run(command: Callable[[], object], *, with_traceback: bool = False) -> int:
    """Call *command* and tell its errors on stderr. The exit code, that of the command if any."""
    try:
        code = command()
        sys.stdout.flush()
    except BrokenPipeError:
        forget_stdout()
        return 0
    except (KeyboardInterrupt, click.Abort):
        return EXIT_INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the last place where it can be told
        return _told(error, with_traceback=with_traceback)
    return code if isinstance(code, int) else 0


def _told(error: Exception, *, with_traceback: bool) -> int:
    if isinstance(error, click.ClickException):
        return _usage_error(error)
    if not isinstance(error, StokerError):
        return _unexpected(error, with_traceback=with_traceback)
    print(error_text(error, color=use_color(sys.stderr)), end="", file=sys.stderr)
    # The server's own refusals end with 1, as kubectl's do.
    return EXIT_NO if hasattr(error, "reason") else EXIT_ERROR


def error_text(error: StokerError, *, color: bool = False) -> str:
    """``error: ...``, its place, an empty line and the hint; several errors one after another."""
    if isinstance(error, InputErrors):
        return "\n".join(error_text(one, color=color) for one in error.errors)
    reason = getattr(error, "reason", "")
    told = f"Error from server ({reason}):" if reason else "error:"
    lines = [f"{_style(told, 'red', color=color)} {error.message}"]
    if error.place is not None:
        lines.append(f"  --> {error.place}")
    if error.hint:
        lines += ["", f"{_style('hint:', 'cyan', color=color)} {error.hint}"]
    return "\n".join(lines) + "\n"


def use_color(stream: TextIO) -> bool:
    """Whether *stream* is a terminal and the user has not asked for NO_COLOR."""
    return stream.isatty() and not os.environ.get("NO_COLOR")


def _style(text: str, name: str, *, color: bool) -> str:
    return click.style(text, fg=name, bold=True) if color else text


def _usage_error(error: click.ClickException) -> int:
    """A flag or an argument that is not understood. No command at all gets the help page."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return error.exit_code
    message = error.format_message().rstrip(".")
    hint = None
    if isinstance(error, click.UsageError) and error.ctx is not None:
        hint = f"see `{error.ctx.command_path} --help`"
    if isinstance(error, click.NoSuchOption) and error.possibilities:
        message = f"no such option `{error.option_name}`"
        hint = f"did you mean `{min(error.possibilities)}`?"
    told = StokerError(f"{message[:1].lower()}{message[1:]}", hint=getattr(error, "hint", hint))
    print(error_text(told, color=use_color(sys.stderr)), end="", file=sys.stderr)
    return EXIT_ERROR


def _unexpected(error: Exception, *, with_traceback: bool) -> int:
    if with_traceback or os.environ.get(_TRACEBACK_VARIABLE):
        traceback.print_exception(error)
        return EXIT_ERROR
    told = StokerError(
        f"unexpected {type(error).__name__}: {error}",
        hint=f"this is a bug in Stoker; `{TRACEBACK_FLAG}` or {_TRACEBACK_VARIABLE}=1 shows where",
    )
    print(error_text(told, color=use_color(sys.stderr)), end="", file=sys.stderr)
    return EXIT_ERROR


def forget_stdout() -> None:
    """Whoever read our output has gone; nothing is left to flush at exit."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, sys.stdout.fileno())
    os.close(devnull)
