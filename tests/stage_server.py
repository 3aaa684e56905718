"""A process that has loaded the libraries of the stages, and forks one child for each `python -m icebox …`.

Loading torch and scikit-learn is most of what a stage of a tiny project costs, and the end-to-end tests run a hundred.
The server loads libraries only: the child imports Icebox itself from its working folder, as `python -m icebox` does, so
that tests may change the code there. `commands(folder)` makes a `python` that hands on to it, for a command's PATH.
"""

import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import traceback
from pathlib import Path

LIBRARIES = (
    "numpy", "scipy.stats", "sklearn.linear_model", "sklearn.decomposition", "sklearn.neighbors", "sklearn.svm",
    "sklearn.manifold", "sklearn.metrics", "joblib", "lightgbm", "h5py", "pyarrow.parquet", "torch",
    "torch._dynamo", "safetensors.torch", "PIL.Image", "pydantic", "ruamel.yaml", "typer", "tqdm", "jinja2", "tabulate",
)  # fmt: skip
PYTHON = """#!{python} -IS
import array, json, os, socket, sys
if sys.argv[1:3] != ["-m", "icebox"]:
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
order = json.dumps({{"arguments": sys.argv[3:], "folder": os.getcwd(), "environment": dict(os.environ)}}).encode()
streams = array.array("i", [0, 1, 2])
server.sendmsg([len(order).to_bytes(8, "big")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, streams)])
server.sendall(order)
sys.exit(int(server.recv(16) or b"1"))
"""


def commands(folder: Path) -> tuple[Path, subprocess.Popen[bytes]]:
    """A folder with the `python` that hands stages on, and the server, which is ready."""
    address = folder / "socket"
    server = subprocess.Popen([sys.executable, __file__, str(address)], stdout=subprocess.PIPE)
    assert server.stdout is not None
    assert server.stdout.readline() == b"ready\n"
    (folder / "bin").mkdir()
    python = folder / "bin/python"
    python.write_text(PYTHON.format(python=sys.executable, address=str(address)))
    python.chmod(0o755)
    return folder / "bin", server


def serve(address: str) -> None:
    """Fork a child for each order, until this process is ended."""
    for name in LIBRARIES:
        __import__(name)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(address)
    listening.listen()
    print("ready", flush=True)
    while True:
        connection, _ = listening.accept()
        if os.fork() == 0:  # waits for the stage, so that the server can go on
            listening.close()
            os._exit(answer(connection))
        connection.close()
        while True:  # those that have ended
            try:
                if os.waitpid(-1, os.WNOHANG) == (0, 0):
                    break
            except ChildProcessError:
                break


def answer(connection: socket.socket) -> int:
    """Run one order in a child of this process and send its exit code."""
    head, streams, _, _ = socket.recv_fds(connection, 8, 3)
    order = b""
    while len(order) < int.from_bytes(head, "big"):
        order += connection.recv(1 << 16)
    child = os.fork()
    if child == 0:
        connection.close()
        run(json.loads(order), streams)
    _, status = os.waitpid(child, 0)
    connection.sendall(str(os.waitstatus_to_exitcode(status)).encode())
    return 0


def run(order: dict, streams: list[int]) -> None:
    """Be `python -m icebox ARGUMENTS` in the order's folder."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["environment"])
    sys.argv = ["icebox", *order["arguments"]]
    sys.path[0] = order["folder"]
    code = 1
    try:
        runpy.run_module("icebox", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:  # whatever came, this child must not go on as the server
        if sys.exc_info()[0]:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve(sys.argv[1])
