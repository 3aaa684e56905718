"""The process: slow clients, broken HTTP, its start, and its end."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from icebox.features.errors import IceboxError
from icebox.pipeline.cli import app as cli
from icebox.pipeline.serving import app, server
from icebox.pipeline.serving.limits import Limits
from icebox.pipeline.serving.predictor import HeadPredictor
from tests.pipeline.serving.heads import fit_texts

LIMITS = Limits(head_s=0.3, chunk_s=0.3, body_s=0.8)
TOKEN = "0123456789abcdef"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("server")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        fit_texts()
        yield folder


@pytest.fixture(scope="module")
def port(project: Path) -> Iterator[int]:
    """The port of a server with short times."""
    service = app.Service(HeadPredictor("notes/head"), limits=LIMITS)
    listening = server.bind("127.0.0.1", 0)
    made = server.of_app(app.build(service), service.limits)
    thread = threading.Thread(target=made.run, kwargs={"sockets": [listening]})
    thread.start()
    yield listening.getsockname()[1]
    made.should_exit = True
    thread.join(30)


def conversation(port: int, *parts: bytes, wait_s: float = 0.0) -> bytes:
    """All that the server sends until it closes, of a client that sends these parts with a pause after each."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        for part in parts:
            try:
                client.sendall(part)
            except OSError:
                break
            time.sleep(wait_s)
        received = b""
        try:
            while piece := client.recv(1 << 16):
                received += piece
        except ConnectionResetError:
            pass
        return received


HEAD = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 20\r\n\r\n"


def test_connections_that_say_nothing_or_little_are_closed(port: int) -> None:
    assert conversation(port) == b""
    assert conversation(port, b"POST /predict HTTP/1.1\r\nHost:") == b""
    assert conversation(port, *[b"GET / HTTP/1.1\r\n", *[b"X: y\r\n"] * 9], wait_s=0.1) == b""


def test_a_body_that_comes_too_slowly_is_refused(port: int) -> None:
    assert conversation(port, HEAD, b'{"te').startswith(b"HTTP/1.1 408")
    assert conversation(port, HEAD, *[b"{"] * 12, wait_s=0.1).startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize("broken", [b"\x16\x03\x01\x02", b"GET\r\n\r\n", b"GET / XTTP/1.1\r\n\r\n", b"A" * 100_000])
def test_what_is_no_http_is_refused(port: int, broken: bytes) -> None:
    answer = conversation(port, broken)
    assert answer.startswith(b"HTTP/1.1 400") or not answer  # reset, where more came than was read
    answer = conversation(port, HEAD.replace(b"Host", b"Connection: close\r\nHost"), b'{"texts":["so good"]}'[:20])
    assert answer.startswith(b"HTTP/1.1 400")
    body = b'{"texts": ["so good"]}'
    head = HEAD.replace(b"20", b"%d" % len(body)).replace(b"Host", b"Connection: close\r\nHost")
    assert b'"label":"plus"' in conversation(port, head, body)


def test_a_client_that_leaves_costs_nothing(port: int) -> None:
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(HEAD + b'{"te')
    assert conversation(port, HEAD, b'{"te').startswith(b"HTTP/1.1 408")


def test_a_taken_port_and_an_address_of_another_machine_are_told(project: Path) -> None:
    with server.bind("127.0.0.1", 0) as taken, pytest.raises(IceboxError, match="Address already in use"):
        server.bind("127.0.0.1", taken.getsockname()[1])
    with pytest.raises(IceboxError, match="can't be listened at"):
        server.bind("192.0.2.1", 0)
    with pytest.raises(IceboxError, match="can't be listened at"):
        server.bind("no such name", 0)


def test_hosts_of_loopback_are_its_names(project: Path) -> None:
    assert set(server.hosts_for("127.0.0.1", ["My.Host"])) == {"127.0.0.1", "localhost", "::1", "my.host"}
    assert server.hosts_for("0.0.0.0", []) is None
    assert set(server.hosts_for("0.0.0.0", ["my.host"])) == {"127.0.0.1", "localhost", "::1", "my.host"}


COMMANDS = {
    "notes/haed --port 0": "did you mean 'notes/head'?",
    "notes/head --host 0.0.0.0 --port 0": "need a token",
    "notes/head --token-file none --port 0": "No such file",
    "masks/pixel_linear --port 0": "a head of segmentation answers with masks or boxes",
}


@pytest.mark.parametrize("command", COMMANDS)
def test_what_can_not_be_served_is_one_line(project: Path, capsys: pytest.CaptureFixture[str], command: str) -> None:
    folder = project / "results/heads/masks"
    folder.mkdir(exist_ok=True)
    (folder / "pixel_linear.joblib").touch()
    (folder / "pixel_linear.json").write_text(json.dumps({"sha256": "", "task": "segmentation"}))
    assert cli.main(["serve", *command.split()]) == 1
    error = capsys.readouterr().err
    assert COMMANDS[command] in error
    assert len(error.splitlines()) == 1


def test_a_missing_library_is_one_line(project: Path, capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    needed = {"starlette": "starlette", "no_such_library": "no-such-library"}
    monkeypatch.setattr("icebox.pipeline.cli.serve.NEEDED", needed)
    assert cli.main(["serve", "notes/head"]) == 1
    assert "needs no-such-library, which is not installed; run: pip install 'icebox[serve]'" in capsys.readouterr().err
    monkeypatch.setattr("icebox.pipeline.cli.serve.NEEDED", needed | {"nor_this": "nor-this"})
    assert cli.main(["serve", "notes/head"]) == 1
    assert "needs no-such-library, nor-this, which are not installed; run: " in capsys.readouterr().err


@pytest.mark.slow
def test_the_command_answers_and_ends_in_order(project: Path) -> None:
    environment = os.environ | {"ICEBOX_SERVE_TOKEN": TOKEN}
    process = subprocess.Popen(
        [sys.executable, "-m", "icebox", "serve", "notes/head", "--port", "0"],
        cwd=project, env=environment, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    line = process.stderr.readline()
    url = line.split()[1]
    request = urllib.request.Request(f"{url}/predict", b'{"texts": ["so good"]}')
    request.add_header("content-type", "application/json")
    request.add_header("authorization", f"Bearer {TOKEN}")
    with urllib.request.urlopen(request, timeout=30) as response:
        assert json.load(response)["items"][0]["label"] == "plus"
    # one whose body is not here yet is answered before the end
    with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=30) as client:
        body = b'{"texts": ["so good"]}'
        host = url.removeprefix("http://").encode()
        head = HEAD.replace(b"Host: x", b"Host: %s\r\nAuthorization: Bearer %s" % (host, TOKEN.encode()))
        client.sendall(head.replace(b"20", b"%d" % len(body)))
        time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        client.sendall(body)
        received = b""
        while piece := client.recv(1 << 16):
            received += piece
        assert b'"label":"plus"' in received
    _, rest = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "Traceback" not in rest
    assert TOKEN not in line + rest
