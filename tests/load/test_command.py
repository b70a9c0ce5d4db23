"""``stoker load`` as a person calls it."""

from __future__ import annotations

import asyncio
import json
import sys

import pytest
from click.testing import CliRunner

from stoker.cli import stoker
from stoker.errors import InputError

_MAIN = "from stoker.cli.load import load; load(standalone_mode=True)"


async def call(*arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of the command in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _MAIN, *arguments, stdout=-1, stderr=-1
    )
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def test_a_good_run_prints_a_report_on_stdout_and_nothing_else(server):
    code, out, err = await call(server.url, "--num-requests", "5", "--prompt-len", "10")
    assert (code, err) == (0, "")
    assert "5 requests in" in out
    assert "5 ok, 0 failed" in out
    assert "time to first token" in out
    assert [len(r["messages"][0]["content"]) for r in server.requests] == [30] * 5


async def test_a_run_with_failures_exits_with_1_and_json_tells_them(server):
    async def fail(_request, writer):
        await server.whole(b"busy", writer, "503 X")

    server.reply = fail
    code, out, _ = await call(
        server.url, "--concurrency", "2", "--num-requests", "4", "--output", "json"
    )
    assert code == 1
    report = json.loads(out)
    assert report["errors"] == [{"kind": "HTTP 503", "count": 4, "example": "busy"}]


async def test_a_trace_sends_its_own_lengths_at_its_times_and_speed(server, tmp_path):
    trace = tmp_path / "t.csv"
    trace.write_text(
        "TIMESTAMP,ContextTokens,GeneratedTokens\n"
        "2023-11-16 00:00:00.0,9,9\n2023-11-16 00:00:10.0,2,3\n"
        "2023-11-16 00:00:11.0,4,5\n2023-11-16 00:00:20.0,9,9\n"
    )
    code, out, _ = await call(
        server.url, "--trace", str(trace), "--start", "5", "--duration", "10", "--speed", "100"
    )
    assert code == 0, out
    prompts = [r["messages"][0]["content"] for r in server.requests]
    sent = [
        (len(p.split()), r["max_tokens"]) for p, r in zip(prompts, server.requests, strict=True)
    ]
    assert sent == [(2, 3), (4, 5)]
    assert prompts[0].split()[0] != prompts[1].split()[0], "a prefix cache would find them equal"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--rate", "1", "--concurrency", "2"], "`--rate` and `--concurrency` cannot be used"),
        (["--speed", "2"], "`--speed` is for a trace"),
        (["--duration", "5"], "needs to know how fast"),
        (["ftp://x"], "is not a URL"),
        (["--trace", "/nowhere.csv", "--model", "m"], "cannot read the trace"),
    ],
)
def test_options_that_make_no_sense_are_input_errors(arguments, says):
    result = CliRunner().invoke(stoker, ["load", *arguments])
    assert isinstance(result.exception, InputError)
    assert says in str(result.exception)
