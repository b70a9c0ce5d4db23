"""``stoker calibrate`` against a server that answers as vLLM does, and against none."""

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from stoker.simulator.profiles import profile

METRICS = 'vllm:cache_config_info{block_size="16",engine="0",num_gpu_blocks="1001"} 1.0\n'
CHUNK = 'data: {"choices":[{"index":0,"delta":{"content":"Hi "},"finish_reason":%s}]}\n\n'


class Server(BaseHTTPRequestHandler):
    """Eight tokens to everybody, at once."""

    protocol_version = "HTTP/1.1"
    metrics = METRICS
    pace = 0.002  # seconds between two tokens

    def do_GET(self):
        if self.path == "/metrics":
            self.answer(self.metrics, "text/plain")
        else:
            model = {"id": "m", "object": "model", "max_model_len": 4096}
            self.answer(json.dumps({"object": "list", "data": [model]}), "application/json")

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        usage = {"prompt_tokens": 100, "completion_tokens": 8, "total_tokens": 108}
        text = CHUNK % "null" * 7 + CHUNK % '"length"'
        text += f"data: {json.dumps({'choices': [], 'usage': usage})}\n\ndata: [DONE]\n\n"
        self.answer(text, "text/event-stream")

    def answer(self, text, type_):
        self.send_response(200)
        self.send_header("Content-Type", type_)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if not self.pace:
            self.wfile.write(text.encode())
            return
        for line in text.splitlines(keepends=True):
            self.wfile.write(line.encode())
            if self.pace and line.startswith("data: "):
                threading.Event().wait(self.pace)

    def log_message(self, *_):
        """Nothing."""


@pytest.fixture
def server():
    made = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=made.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{made.server_port}"
    made.shutdown()
    thread.join()
    made.server_close()


def calibrate(*arguments, code=0):
    done = subprocess.run(
        [sys.executable, "-m", "stoker", "calibrate", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done


def test_a_sweep_becomes_a_profile(server, tmp_path):
    path, picture = tmp_path / "mine.json", tmp_path / "fit.svg"
    done = calibrate(
        *(server, "-o", str(path), "--output-tokens", "8", "--rounds", "1"),
        *("--concurrency", "1,2", "--prompt-tokens", "64,128", "--plot", str(picture)),
    )
    drawn = picture.read_text(encoding="utf-8")
    assert drawn.count("<circle") == 4  # each point of the sweep
    assert drawn.count("% off on average") >= 2  # each panel says how far its curve is off
    assert f"picture: {picture}" in done.stdout
    assert len([line for line in done.stdout.splitlines() if " ms " in line]) == 4
    made = profile(str(path))
    assert made.name == "mine"
    assert "`stoker calibrate` of m" in made.source
    assert made.max_model_len == 4096
    assert made.kv_blocks(0.92, 16) in (1001, 1000)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--concurrency", "1,2", "--prompt-tokens", "64"), "needs four points"),
        (("--concurrency", "2,4", "--prompt-tokens", "64,128"), "concurrency 1 among them"),
        (("--concurrency", "x"), "whole numbers"),
        (("--plot", "fit.pdf"), ".png or .svg"),
        (("--model", "other"), "there is m"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_sent(server, arguments, words):
    assert words in calibrate(server, *arguments, code=2).stderr


def test_an_engine_that_does_not_stream_cannot_be_measured(server, tmp_path, monkeypatch):
    monkeypatch.setattr(Server, "pace", 0.0)
    done = calibrate(server, "-o", str(tmp_path / "x.json"), "--rounds", "1", code=2)
    assert "all at once" in done.stderr
    assert not (tmp_path / "x.json").exists()


def test_nobody_there_is_said():
    assert "does the engine run there?" in calibrate("http://127.0.0.1:9", code=2).stderr


def test_a_server_of_something_else_is_said(server, monkeypatch):
    monkeypatch.setattr(Server, "do_GET", lambda self: self.send_error(404))
    told = calibrate(server, code=2).stderr
    assert "/v1/models answers 404" in told
    assert "without /v1?" in told
