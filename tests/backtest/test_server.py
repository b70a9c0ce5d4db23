from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

import pytest

from stoker import cli
from stoker.backtest.server import ask_server, step_of
from stoker.cli.console import run
from stoker.errors import InputError, MachineError
from stoker.scaling.settings import ControllerSettings

from .conftest import a_spec, walk

SETTINGS = ControllerSettings()


@contextmanager
def a_prometheus(answer):
    """Answers range queries with what *answer* says of (query, start, end, step)."""
    asked = []
    credentials = a_prometheus.credentials = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            credentials.append(self.headers.get("Authorization"))
            asked.append(
                (self.path, *(form[name][0] for name in ("query", "start", "end", "step")))
            )
            body = answer(form["query"][0], *(float(form[n][0]) for n in ("start", "end", "step")))
            payload = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def matrix(*series):
    return {"status": "success", "data": {"resultType": "matrix", "result": list(series)}}


def ramp(_query, start, end, step):
    """The value is the time; nothing from 60 to 90."""
    times = [start + step * n for n in range(int((end - start) / step) + 1)]
    return matrix({"metric": {}, "values": [[t, str(t)] for t in times if not 60 <= t < 90]})


def test_the_files_own_query_is_asked_on_the_grid_of_all_looks() -> None:
    with a_prometheus(ramp) as (url, asked):
        recorded = ask_server(f"{url}/", a_spec(), 0, 120, settings=SETTINGS)
    found = walk(a_spec(), recorded, 120)

    assert asked == [("/api/v1/query_range", "sum(waiting)", "0", "120", "15.0")]
    # a gap in the answer is an empty result, whatever came before it
    assert [(t.time, t.readings[0].value) for t in found if t.reader == "HPA sync"] == [
        (15, 15), (30, 30), (45, 45), (60, 0), (75, 0), (90, 90), (105, 105), (120, 120),
    ]  # fmt: skip


def test_a_long_time_is_asked_in_parts_that_a_server_accepts() -> None:
    end = 15 * 11_000 + 30
    with a_prometheus(ramp) as (url, asked):
        recorded = ask_server(url, a_spec(), 0, end, settings=SETTINGS)

    assert [(float(start), float(stop)) for _, _, start, stop, _ in asked] == [
        (0, 15 * 10_999),
        (15 * 11_000, end),
    ]
    (column,) = recorded.columns
    assert len(column.tracks) == 1
    times = column.tracks[0].times
    assert list(times) == sorted(set(times))
    assert times[-1] == end


@pytest.mark.parametrize(
    ("poll", "sync", "step"), [(30, 15, 15), (10, 15, 5), (7, 15, 1), (0.5, 15, 1)]
)
def test_the_step_has_every_look_on_it(poll, sync, step) -> None:
    assert step_of(poll, sync) == step


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ({"status": "error", "error": "parse error"}, "refuses the query `sum.waiting.`: parse"),
        (b"<html>", "answers 200 and no JSON"),
        ({"status": "success", "data": {"resultType": "vector", "result": []}}, "found vector"),
    ],
)
def test_a_server_that_does_not_answer_a_range_is_told(answer, told) -> None:
    with (
        a_prometheus(lambda *_: answer) as (url, _),
        pytest.raises(InputError, match=told),
    ):
        ask_server(url, a_spec(), 0, 60, settings=SETTINGS)


def test_no_server_is_told() -> None:
    with pytest.raises(MachineError, match=r"no answer from http://127\.0\.0\.1:1"):
        ask_server("http://127.0.0.1:1", a_spec(), 0, 60, settings=SETTINGS)
    with pytest.raises(InputError, match="is not an address"):
        ask_server("localhost:9090", a_spec(), 0, 60, settings=SETTINGS)


@pytest.mark.parametrize(
    ("arguments", "sent"),
    [
        (["-H", "Authorization: Basic c2VjcmV0"], "Basic c2VjcmV0"),
        (["--bearer-token-file", "TOKEN"], "Bearer c2VjcmV0"),
    ],
    ids=["header", "bearer"],
)
def test_credentials_go_with_every_request(so_file, tmp_path, capsys, arguments, sent) -> None:
    token = tmp_path / "TOKEN"
    token.write_text("c2VjcmV0\n")
    arguments = [str(token) if word == "TOKEN" else word for word in arguments]

    with a_prometheus(ramp) as (url, asked):
        words = ["backtest", str(so_file), "--prometheus", url, "--from", "0", "--to", "60"]
        code = run(lambda: cli.stoker.main([*words, *arguments], "stoker", standalone_mode=False))

    assert code == 0
    assert asked
    assert set(a_prometheus.credentials) == {sent}
    assert "c2VjcmV0" not in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["-H", "c2VjcmV0"], "a header is written `Name: value`"),
        (["-H", "A b: c2VjcmV0"], "a header is written `Name: value`"),
        (["-H", "Auth: a\nc2VjcmV0"], "the value of `Auth` has a line break"),
        (["--bearer-token-file", "EMPTY"], "there is no token in this file"),
    ],
)
def test_bad_credentials_are_told_without_them(so_file, tmp_path, capsys, arguments, told) -> None:
    (tmp_path / "EMPTY").write_text("\n")
    arguments = [str(tmp_path / "EMPTY") if word == "EMPTY" else word for word in arguments]
    words = ["backtest", str(so_file), "--prometheus", "http://127.0.0.1:1", "--from", "0"]

    code = run(
        lambda: cli.stoker.main([*words, "--to", "60", *arguments], "stoker", standalone_mode=False)
    )

    error = capsys.readouterr().err
    assert code == 2
    assert told in error
    assert "c2VjcmV0" not in error
