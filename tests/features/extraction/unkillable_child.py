"""Run by test_unkillable.py: forks a child a kill, so that numpy and h5py are imported once and a kill costs little.

Standard input gives one JSON task a line, standard output one JSON answer a line. A task is {"what": extract | index |
compact | export, "root": folder, "contents": […]} and, as wanted, "views": [names] (the contents are of pictures then),
"kill_after_s": seconds, "signal": number, "kill_at_step": number, "limit_bytes": number. The answer is {"took_s":
seconds, "status": exit code or minus the signal, "error": text}
"""

import json
import os
import resource
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from icebox.features.backbones.pixels import PixelsBackbone
from icebox.features.errors import IceboxError
from icebox.features.extraction.extract import extract
from icebox.features.store.feature_store import FeatureStore
from icebox.features.store.shard_cache.compaction import compact
from icebox.pipeline.stores.export import export
from tests.tiny import Doubling, picture, pictures, rows

SHARD_ROWS = 3
STEPS = ("os.rename", "os.link", "os.remove")  # between two of these nothing in a folder appears or goes


def kill_at_step(last: int) -> None:
    """Have this process killed just before it renames, links or removes for the `last` time, counted from 0."""
    count = 0

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if event in STEPS:
            if count == last:
                os.kill(os.getpid(), signal.SIGKILL)
            count += 1

    sys.addaudithook(watch)


def work(task: dict[str, Any]) -> None:
    """One command, as a user would run it."""
    root = Path(task["root"])
    if task["what"] == "compact":
        compact(root / "store", root / "cache", shard_rows=SHARD_ROWS)
        return
    if task["what"] == "export":
        export(FeatureStore(root / "store"), root / "out" / task["to"], outputs=["last"])
        return
    views = task.get("views")
    extract(
        pictures(*map(int, task["contents"])) if views else rows(*task["contents"]),
        read=picture if views else lambda source: source,
        backbone=PixelsBackbone(size=2, grey=True, outputs=["last"]) if views else Doubling(),
        views=views or ["identity"],
        cache_root=root / "cache",
        store=root / "store",
        batch_size=2,
        workers=1,
        shard_rows=SHARD_ROWS,
    )


def child(task: dict[str, Any]) -> None:
    """Exit 0, 1 on an error meant for the user, 130 on Ctrl-C, 2 on anything else."""
    status = 2
    try:
        if task.get("limit_bytes"):
            resource.setrlimit(resource.RLIMIT_FSIZE, (task["limit_bytes"], task["limit_bytes"]))
        if "kill_at_step" in task:
            kill_at_step(task["kill_at_step"])
        signal.signal(signal.SIGINT, signal.default_int_handler)
        work(task)
        status = 0
    except IceboxError as error:
        os.write(2, f"{error}\n".encode())
        status = 1
    except KeyboardInterrupt:
        status = 130
    except BaseException:  # noqa: BLE001 it must end here, whatever it is: this is a fork of the server
        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(status)


def run(task: dict[str, Any], errors: Path) -> dict[str, Any]:
    """Fork, wait or kill, and say how it ended."""
    errors.write_bytes(b"")
    began = time.perf_counter()
    pid = os.fork()
    if pid == 0:
        descriptor = os.open(errors, os.O_WRONLY | os.O_APPEND)
        os.dup2(descriptor, 2)
        child(task)
    if task.get("kill_after_s") is not None:
        time.sleep(task["kill_after_s"])
        os.kill(pid, task.get("signal", signal.SIGKILL))
    _, status = os.waitpid(pid, 0)
    took_s = time.perf_counter() - began
    return {"took_s": took_s, "status": os.waitstatus_to_exitcode(status), "error": errors.read_text()}


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line), Path(sys.argv[1]))), flush=True)
