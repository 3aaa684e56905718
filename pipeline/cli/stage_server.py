"""Processes that load the libraries of the stages once a run, and fork a child for each stage that DVC starts.

DVC starts `python -m icebox` for each stage, and Python with scikit-learn takes a second or two every time, more than
most heads take to fit. So `icebox run` puts a `python` of its own before DVC's: it hands a stage on to a server that
has everything loaded. The child is what the stage would have been: its folder, environment, streams, signals and exit
code are the stage's. Whatever fails here, the stage is started as ever. Linux only: elsewhere forking is not safe.
"""

import atexit
import importlib
import io
import json
import os
import select
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import icebox

MODULE = "icebox.pipeline.cli.stage_server"
STAGE_MODULES = "icebox.pipeline.stages"
# Which stages a server runs, and so loads. `data` must not load torch: families without a network go by whether it is.
SERVERS = {"light": ("check", "report"), "data": ("manifest", "fetch", "extract", "join"), "heavy": ("fit", "look")}
LOADED_LATER = ("icebox.pipeline.cli.app", "icebox.pipeline.config.loader")  # by each stage
PREPARED = {"light": ("report",)}  # stages for which a server has more to load while others run
IDLE_S = 0.05  # between two looks whether the stages have ended beside which that would be in the way
LEAVE_S = 0.1  # a server has to leave by itself
SHIM = """
import array, json, os, signal, socket, sys
python, folder, servers = {python!r}, {folder!r}, {servers!r}
arguments = sys.argv[1:]
def as_ever():
    os.execv(python, [python, *arguments])
if arguments[:2] != ["-m", "icebox"] or len(arguments) < 3 or arguments[2] not in servers:
    as_ever()
server = socket.socket(socket.AF_UNIX)
order = {{"arguments": arguments[2:], "folder": os.getcwd(), "environment": dict(os.environ)}}
try:
    server.connect(os.path.join(folder, servers[arguments[2]]))
    text = json.dumps(order).encode()
    streams = array.array("i", [0, 1, 2])
    server.sendmsg([len(text).to_bytes(8, "big")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, streams)])
    server.sendall(text)
    started = server.recv(1)
except OSError:
    started = b""
if not started:
    as_ever()
signal.signal(signal.SIGINT, signal.SIG_IGN)  # the stage gets it too, and says how it ended
code = int(server.recv(16) or b"1")
if code < 0:
    signal.signal(-code, signal.SIG_DFL) if -code not in (signal.SIGKILL, signal.SIGSTOP) else None
    os.kill(os.getpid(), -code)
sys.exit(code)
"""


@contextmanager
def serving(*, fits: bool = False) -> Iterator[tuple[Path, int] | None]:
    """The folder that belongs before PATH, and a file descriptor: servers go on as long as a process holds it.

    The server of check and report loads at once, on the second core while DVC starts, and with `fits` that of fits too;
    the others start with their first stage, since they would only cost a run with nothing to do. With `fits` the
    report's templates and libraries are loaded beside the first fit. None where stages are started as ever: on other
    systems than Linux, with one core, or where ICEBOX_STAGE_SERVER is `off`.
    """
    if os.environ.get("ICEBOX_STAGE_SERVER") == "off" or not can_serve():
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="icebox-") as name:
        folder = Path(name)
        write_shim(folder)
        alive, held = os.pipe()
        listening = {kind: listen(folder / kind) for kind in SERVERS}
        servers: list[subprocess.Popen[bytes]] = []
        eager = {"light", "heavy"} if fits else {"light"}
        waiting = [
            threading.Thread(
                target=start,
                args=(kind, listening[kind], alive, servers),
                kwargs={"at_once": kind in eager, "prepares": fits},
                daemon=True,
            )
            for kind in SERVERS
        ]
        try:
            for thread in waiting:
                thread.start()
            yield folder / "bin", held
        finally:
            os.close(held)
            for thread in waiting:
                thread.join(LEAVE_S)
            for server in servers:
                server.terminate()  # one that is still loading
                server.wait()
            for thread in waiting:  # not for ever: a process that DVC left behind may hold the other end
                thread.join(LEAVE_S)
            if not any(thread.is_alive() for thread in waiting):
                os.close(alive)
                for each in listening.values():
                    each.close()


def listen(path: Path) -> socket.socket:
    """A socket that keeps the orders until its server is there."""
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    listening.listen(64)
    return listening


def start(
    kind: str,
    listening: socket.socket,
    alive: int,
    servers: list[subprocess.Popen[bytes]],
    *,
    at_once: bool,
    prepares: bool,
) -> None:
    """Run a server, from now or from the first order for it on, which `prepares` for further ones or does not."""
    if not at_once:
        ready, _, _ = select.select([listening.fileno(), alive], [], [])
        if listening.fileno() not in ready:  # the run has ended
            return
    server = subprocess.Popen(
        [sys.executable, "-m", MODULE, kind, str(listening.fileno()), str(alive), *(["prepare"] if prepares else [])],
        pass_fds=(listening.fileno(), alive),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    servers.append(server)
    server.wait()
    listening.close()  # orders that one left which was killed, or could not load, are run as ever


def can_serve() -> bool:
    """Whether forking is safe here, children can be watched, and a second core can load libraries while DVC starts."""
    if sys.platform != "linux" or len(os.sched_getaffinity(0)) < 2:
        return False
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:  # an old kernel, or a sandbox
        return False
    return True


def write_shim(folder: Path) -> None:
    """The `python` that hands stages on."""
    servers = {stage: name for name, stages in SERVERS.items() for stage in stages}
    script, python = folder / "shim.py", folder / "bin/python"
    script.write_text(SHIM.format(python=sys.executable, folder=str(folder), servers=servers))
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -IS {shlex.quote(str(script))} "$@"\n')
    python.chmod(0o700)


def serve(kind: str, listening: socket.socket, alive: int, *, prepares: bool = False) -> None:
    """Fork a child for each order, until nobody holds the other end of `alive`; when the first has ended, load more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the stages
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # as `main` does, before torch is loaded
    for name in (*LOADED_LATER, *(f"{STAGE_MODULES}.{stage}" for stage in SERVERS[kind])):
        importlib.import_module(name)
    unprepared = list(PREPARED.get(kind, ())) if prepares else []
    orders_n = 0
    while True:
        ready, _, _ = select.select([listening.fileno(), alive], [], [], IDLE_S if unprepared and orders_n else None)
        if not ready:
            if reap():
                with suppress(Exception):  # the stage itself will tell of it
                    importlib.import_module(f"{STAGE_MODULES}.{unprepared.pop()}").prepare()
            continue
        if alive in ready:  # it is closed: nothing is ever written to it
            reap()
            return
        connection, _ = listening.accept()
        if os.fork() == 0:
            listening.close()
            os.close(alive)
            os._exit(answer(connection))
        connection.close()
        orders_n += 1
        reap()


def reap() -> bool:
    """Take the exit codes of children that have ended → whether all have."""
    try:
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass
    except ChildProcessError:
        return True
    return False


def answer(connection: socket.socket) -> int:
    """Run one order in a child of this process and send its exit code; end the child where nobody waits any more."""
    head, streams, _, _ = socket.recv_fds(connection, 8, 3)
    text = b""
    while len(text) < int.from_bytes(head, "big"):
        part = connection.recv(1 << 16)
        if not part:
            return 1
        text += part
    connection.sendall(b"+")
    child = os.fork()
    if child == 0:
        connection.close()
        be_stage(json.loads(text), streams)
    for stream in streams:
        os.close(stream)
    ended = os.pidfd_open(child)
    ready, _, _ = select.select([ended, connection.fileno()], [], [])
    if ended not in ready:
        os.kill(child, signal.SIGTERM)
    _, status = os.waitpid(child, 0)
    try:
        connection.sendall(str(os.waitstatus_to_exitcode(status)).encode())
    except OSError:
        return 1
    return 0


def be_stage(order: dict[str, object], streams: Sequence[int]) -> None:
    """Be `python -m icebox ARGUMENTS` in the order's folder; never returns."""
    code = 1
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        os.chdir(str(order["folder"]))
        environment, arguments = order["environment"], order["arguments"]
        assert isinstance(environment, dict)
        assert isinstance(arguments, list)
        os.environ.clear()
        os.environ.update(environment)
        sys.argv = [str(Path(icebox.__file__).with_name("__main__.py")), *arguments]
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(line_buffering=os.isatty(1))
        code = importlib.import_module("icebox.pipeline.cli.app").main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001  # this child must not go on as the server
        traceback.print_exc()
    finally:
        atexit._run_exitfuncs()
        for file in (sys.stdout, sys.stderr):
            try:
                file.flush()
            except (OSError, ValueError):
                code = code or 1
        os._exit(code)


if __name__ == "__main__":
    kind, number, pipe, *options = sys.argv[1:]
    serve(kind, socket.socket(fileno=int(number)), int(pipe), prepares="prepare" in options)
