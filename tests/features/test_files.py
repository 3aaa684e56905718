import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

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


ENDED = 2**22 + 1  # no process has this number on Linux


def leftover(folder: Path, *, pid: int, host: str) -> Path:
    path = folder / f"{files.TEMPORARY}{pid}-{host}01234567"
    path.write_text("half")
    return path


def test_the_next_write_removes_what_killed_writers_left_and_nothing_that_may_be_in_use(tmp_path):
    ended, before_hosts = leftover(tmp_path, pid=ENDED, host=files.host()), leftover(tmp_path, pid=ENDED, host="")
    namesake = leftover(tmp_path, pid=os.getpid(), host=files.host())  # of an earlier container, say
    folder = tmp_path / f"{files.TEMPORARY}{ENDED}-{files.host()}89abcdef"
    (folder / "inner").mkdir(parents=True)
    elsewhere = leftover(tmp_path, pid=ENDED, host="ffffff")
    running = leftover(tmp_path, pid=os.getppid(), host=files.host())
    own = tmp_path / f"{files.TEMPORARY}notes"
    own.write_text("somebody's")
    with files.temporary_in(tmp_path) as open_now:
        open_now.write_text("half")
        files.write_text(tmp_path / "new", "x")
        assert open_now.exists()
    assert [path.exists() for path in (ended, before_hosts, namesake, folder)] == [False] * 4
    assert [path.exists() for path in (elsewhere, running, own)] == [True] * 3


def test_a_folder_is_scanned_once_by_a_process_that_writes_many_files_into_it(tmp_path, monkeypatch):
    scanned, scandir = [], os.scandir
    monkeypatch.setattr(files.os, "scandir", lambda folder: scanned.append(folder) or scandir(folder))
    monkeypatch.chdir(tmp_path)
    for folder in (tmp_path, tmp_path / "other", Path("other")):
        for name in "abc":
            files.write_text(folder / name, "x")
    assert scanned == [tmp_path, tmp_path / "other"]


def test_a_process_that_was_killed_while_writing_is_cleared_up_after_by_the_next(tmp_path):
    code = """
import os, signal, sys
from pathlib import Path
from icebox.features import files
with files.replacing(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", code, tmp_path / "f"], check=False)
    assert len(list(tmp_path.iterdir())) == 1
    files.write_text(tmp_path / "g", "whole")
    assert [path.name for path in tmp_path.iterdir()] == ["g"]


def test_a_temporary_folder_takes_its_name_whole_or_vanishes(tmp_path):
    with files.temporary_in(tmp_path) as draft:
        draft.mkdir()
        (draft / "a").write_text("x")
        draft.replace(tmp_path / "made")

    def fail() -> None:
        with files.temporary_in(tmp_path) as draft:
            draft.mkdir()
            (draft / "a").write_text("x")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


@pytest.mark.parametrize("there", [(), ("a",), ("b",), ("a", "b")])
@pytest.mark.parametrize("failing", [0, 1, 2, 3])
def test_files_that_belong_together_are_all_new_or_all_as_before(tmp_path, there, failing, monkeypatch):
    for name in there:
        (tmp_path / name).write_text("old")
    replace, count = Path.replace, 0

    def fails(path: Path, target: Path) -> Path:
        nonlocal count
        count += 1
        if count == failing + 1:
            raise OSError(errno.EIO, "no", str(path))
        return replace(path, target)

    def write() -> None:
        with files.replacing_together(tmp_path / "a", tmp_path / "b") as temporaries:
            for temporary in temporaries:
                temporary.write_text("new")
            monkeypatch.setattr(Path, "replace", fails)

    if failing < len(there) + 2:
        with pytest.raises(IceboxError, match="Input/output error"):
            write()
        expected = dict.fromkeys(there, "old")
    else:
        write()
        expected = {"a": "new", "b": "new"}
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == expected


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENOSPC, errno.EACCES])
def test_whatever_the_system_refuses_while_writing_is_one_line(tmp_path, number):
    with pytest.raises(IceboxError) as caught, files.replacing(tmp_path / "f"):
        raise OSError(number, os.strerror(number), str(tmp_path / "f"))
    assert str(tmp_path) in str(caught.value)
    assert os.strerror(number) in str(caught.value)
    assert list(tmp_path.iterdir()) == []
