from __future__ import annotations

import subprocess
import sys

import click
import pytest

from stoker import cli
from stoker.api.kinds import SCALED_OBJECT
from stoker.cli.console import error_text, run
from stoker.errors import InputError, InputErrors, MachineError, Place


def stoker(*arguments):
    """The exit code of a command line."""
    return run(lambda: cli.stoker.main(list(arguments), prog_name="stoker", standalone_mode=False))


def raising(error):
    def command():
        raise error

    return command


def test_an_error_names_its_place_and_the_way_out(capsys):
    error = InputError(
        "`tirggers`: unknown", hint="did you mean `triggers`?", place=Place("a", 5, 3)
    )
    assert run(raising(error)) == 2
    assert capsys.readouterr() == (
        "",
        "error: `tirggers`: unknown\n  --> a:5:3\n\nhint: did you mean `triggers`?\n",
    )


def test_several_errors_are_told_together():
    errors = InputErrors([InputError("one", hint="x"), InputError("two", place=Place("b"))])
    assert error_text(errors) == "error: one\n\nhint: x\n\nerror: two\n  --> b\n"


def test_a_refusal_of_the_server_is_told_as_kubectl_does_and_ends_with_1(capsys):
    assert run(raising(SCALED_OBJECT.not_found("x"))) == 1
    expected = 'Error from server (NotFound): scaledobjects.keda.sh "x" not found\n'
    assert capsys.readouterr().err == expected


def test_color_adds_nothing_but_color():
    error = MachineError("no vllm", hint="pip install vllm")
    assert click.unstyle(error_text(error, color=True)) == error_text(error)


def test_an_unexpected_error_is_one_line_without_its_traceback(capsys, monkeypatch):
    monkeypatch.delenv("STOKER_TRACEBACK", raising=False)
    assert run(raising(ZeroDivisionError("division by zero"))) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: unexpected ZeroDivisionError: division by zero\n")
    assert "Traceback" not in told


@pytest.mark.parametrize("way", ["flag", "variable"])
def test_the_traceback_can_be_asked_for(capsys, monkeypatch, way):
    if way == "variable":
        monkeypatch.setenv("STOKER_TRACEBACK", "1")
    run(raising(ZeroDivisionError("x")), with_traceback=way == "flag")
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_an_interrupt_ends_quietly_with_130(capsys):
    assert run(raising(KeyboardInterrupt())) == 130
    assert capsys.readouterr() == ("", "")


def test_an_exit_code_of_a_command_is_that_of_the_program():
    assert run(lambda: 1) == 1
    assert run(lambda: None) == 0


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["gett"], "unknown command `gett`", "did you mean `stoker get`?"),
        (["xyzzy"], "unknown command `xyzzy`", "see `stoker --help`"),
        (["get", "--wach", "so"], "no such option `--wach`", "did you mean `--watch`?"),
        (["get"], "missing argument", "see `stoker get --help`"),
        (["scale", "d", "--replicas", "-1"], "invalid value", "see `stoker scale --help`"),
    ],
)
def test_a_command_line_that_is_not_understood_gets_a_hint(capsys, arguments, message, hint):
    assert stoker(*arguments) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"error: {message}")
    assert told.endswith(f"\nhint: {hint}\n")


def test_every_command_that_is_listed_exists_and_has_a_help_page(capsys):
    for name in cli.stoker.list_commands(None):
        assert stoker(name, "--help") == 0
        assert capsys.readouterr().out.startswith(f"Usage: stoker {name}")


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from stoker import cli\n"
        "try: cli.stoker.main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'aiohttp', 'asyncio', 'numpy', 'pydantic', 'rich', 'yaml', 'promql_parser'}\n"
        "print('heavy:', sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout.splitlines()[-1] == "heavy: []"


def test_a_reader_that_goes_away_is_no_error():
    command = f"{sys.executable} -m stoker --help | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
