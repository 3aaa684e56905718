import os
import signal
import socket
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from icebox.pipeline.cli import stage_server

pytestmark = pytest.mark.skipif(not stage_server.can_serve(), reason="needs Linux and two cores")


@pytest.fixture
def python(tmp_path, monkeypatch):
    """The `python` that hands the stage `check` on to a server."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stage_server, "SERVERS", {"light": ("check",)})
    with stage_server.serving() as servers:
        assert servers is not None
        yield servers[0] / "python"


def run(*command, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, **options)


@pytest.mark.slow
def test_a_stage_is_what_it_would_have_been(python, tmp_path):
    assert "served" not in os.environ
    for folder in (tmp_path, tmp_path / "other"):
        folder.mkdir(exist_ok=True)
        served = run(python, "-m", "icebox", "check", cwd=folder)
        as_ever = run(sys.executable, "-m", "icebox", "check", cwd=folder)
        assert (served.returncode, served.stdout, served.stderr) == (1, as_ever.stdout, as_ever.stderr)
        assert "params.yaml" in served.stderr
    wrong = run(python, "-m", "icebox", "check", "--no-such-option")
    assert wrong.returncode == 2
    assert "python -m icebox check" in wrong.stderr


@pytest.mark.parametrize(
    ("arguments", "output"),
    [(["-c", "print(1, end='')"], "1"), (["-m", "icebox", "--version"], "icebox "), (["-c", "1/0"], "")],
)
def test_whatever_is_no_stage_of_a_server_runs_as_ever(python, arguments, output):
    done = run(python, *arguments)
    assert done.stdout.startswith(output)
    assert done.returncode == ("1/0" in arguments)


def test_where_the_server_has_gone_a_stage_runs_as_ever(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    stage_server.write_shim(tmp_path)
    done = run(tmp_path / "bin/python", "-m", "icebox", "check")
    assert done.returncode == 1
    assert "params.yaml" in done.stderr


@pytest.mark.parametrize("stage", ["check", "extract"])  # of a server that starts at once, and with its first order
def test_where_the_server_can_not_load_a_stage_runs_as_ever(stage, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stage_server, "MODULE", "no_such_module")
    monkeypatch.setattr(stage_server, "SERVERS", {"light": ("check",), "data": ("extract",)})
    with stage_server.serving() as servers:
        assert servers is not None
        done = run(servers[0] / "python", "-m", "icebox", stage, "--no-such-option", timeout=120)
    assert done.returncode == 2


def answered(stage, monkeypatch) -> tuple[socket.socket, int]:
    """The waiter's end of an order that `stage` answers, begun, and the process that watches it."""

    def be_stage(order, streams):
        try:
            stage()
        finally:
            os._exit(1)  # a child that came through would go on with the tests

    monkeypatch.setattr(stage_server, "be_stage", be_stage)
    waiter, server = socket.socketpair()
    watcher = os.fork()
    if watcher == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # ray, which another test may have used, leaves a handler
        waiter.close()
        os._exit(stage_server.answer(server))
    server.close()
    socket.send_fds(waiter, [(2).to_bytes(8, "big")], [0, 1, 2])
    waiter.sendall(b"{}")
    assert waiter.recv(1) == b"+"
    return waiter, watcher


@pytest.mark.filterwarnings("ignore:.*fork")
def test_a_stage_that_is_killed_is_one_to_whoever_waits(monkeypatch):
    waiter, watcher = answered(lambda: os.kill(os.getpid(), signal.SIGKILL), monkeypatch)
    assert waiter.recv(16) == b"-9"
    waiter.close()
    os.waitpid(watcher, 0)


@pytest.mark.filterwarnings("ignore:.*fork")
def test_a_stage_ends_with_whoever_waits_for_it(monkeypatch):
    waiter, watcher = answered(lambda: time.sleep(60), monkeypatch)
    waiter.close()
    began = time.monotonic()
    os.waitpid(watcher, 0)
    assert time.monotonic() - began < 30


@pytest.mark.filterwarnings("ignore:.*fork")
@pytest.mark.parametrize("fails", [False, True])
def test_a_server_prepares_for_further_stages_when_its_first_has_ended(fails, tmp_path, monkeypatch):
    def prepare():
        assert (tmp_path / "ended").exists()
        (tmp_path / "prepared").touch()
        if fails:
            raise ValueError

    def stage(order, streams):
        time.sleep(3 * stage_server.IDLE_S)
        (tmp_path / "ended").touch()
        os._exit(7)

    monkeypatch.setitem(sys.modules, f"{stage_server.STAGE_MODULES}.further", SimpleNamespace(prepare=prepare))
    monkeypatch.setattr(stage_server, "SERVERS", {"light": ()})
    monkeypatch.setattr(stage_server, "PREPARED", {"light": ("further",)})
    monkeypatch.setattr(stage_server, "be_stage", stage)
    listening, (alive, held) = stage_server.listen(tmp_path / "light"), os.pipe()
    server = os.fork()
    if server == 0:
        os.close(held)
        stage_server.serve("light", listening, alive, prepares=True)
        os._exit(0)
    time.sleep(3 * stage_server.IDLE_S)
    assert not (tmp_path / "prepared").exists()  # the first stage must not wait for it
    for _ in range(2):
        with socket.socket(socket.AF_UNIX) as waiter:
            waiter.connect(str(tmp_path / "light"))
            socket.send_fds(waiter, [(2).to_bytes(8, "big")], [0, 1, 2])
            waiter.sendall(b"{}")
            assert (waiter.recv(1), waiter.recv(16)) == (b"+", b"7")
        deadline = time.monotonic() + 30
        while not (tmp_path / "prepared").exists():
            assert time.monotonic() < deadline
    os.close(held)
    assert os.waitpid(server, 0)[1] == 0
    os.close(alive)
    listening.close()


def modules_of(kind: str) -> set[str]:
    """The modules that a server has loaded, where they are named here."""
    modules = [f"{stage_server.STAGE_MODULES}.{stage}" for stage in stage_server.SERVERS[kind]]
    code = f"import importlib, sys; [importlib.import_module(name) for name in {modules}]; print(*sys.modules)"
    return {*run(sys.executable, "-c", code).stdout.split()} & {"torch", "sklearn", "numpy"}


def test_servers_load_no_more_than_all_of_their_stages_would():
    assert modules_of("light") == {"numpy"}
    assert modules_of("data") == {"numpy"}  # whether torch is loaded says whether a family has a network


@pytest.mark.parametrize("reason", ["off", "one core", "an old kernel"])
def test_where_there_can_be_no_server_there_is_none(reason, monkeypatch):
    if reason == "off":
        monkeypatch.setenv("ICEBOX_STAGE_SERVER", "off")
    elif reason == "one core":
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0})
    else:

        def refused(pid):
            raise OSError("not implemented")

        monkeypatch.setattr(os, "pidfd_open", refused)
    with stage_server.serving() as servers:
        assert servers is None
