import subprocess
import sys
import threading

import pytest

from icebox.features import files
from icebox.features.errors import IceboxError

HOLDER = """
import sys, time
from pathlib import Path
from icebox.features import files
with files.locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "f"
    target.write_text("old")

    def fail() -> None:
        with files.replacing(target) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_sweeping_removes_what_killed_writers_left(tmp_path):
    (tmp_path / f"{files.TEMPORARY}1-x").write_text("half")
    (tmp_path / "shard").write_text("whole")
    files.sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["shard"]


def test_a_lock_refuses_other_processes_and_ends_with_its_holder_however_that_ends(tmp_path):
    lock = tmp_path / "folder" / "lock"
    with subprocess.Popen([sys.executable, "-c", HOLDER, lock], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(IceboxError, match="another process"), files.locked(lock):
            pass
        threading.Timer(0.2, holder.kill).start()
        with files.locked(lock, wait=True):
            assert holder.wait() != 0
        holder.wait()
        with files.locked(lock):
            pass
    assert lock.exists()


def test_one_process_can_hold_a_lock_only_once_and_again_after_an_error(tmp_path):
    lock = tmp_path / "lock"
    with files.locked(lock), pytest.raises(IceboxError, match="another process"), files.locked(lock):
        pass
    with pytest.raises(RuntimeError), files.locked(lock):
        raise RuntimeError
    with files.locked(lock):
        pass
