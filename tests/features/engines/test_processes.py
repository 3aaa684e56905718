"""Workers in processes of their own: the same bytes as one process gives, also where some are killed."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from icebox.features.engines.processes import Processes
from icebox.features.engines.worker import LOSSES_MAX
from icebox.features.errors import IceboxError
from icebox.features.extraction.extract import extract
from icebox.features.extraction.shard_work import Local
from tests.conftest import PROJECT
from tests.features.engines.counting import Tiny, passed
from tests.tiny import Doubling, rows

NUMBERS = [str(number) for number in range(20)]


def run(folder: Path, engine, *items: str, **options):
    progress: list[int] = []
    done = extract(
        rows(*items),
        read=lambda source: source,
        backbone=Doubling(),
        cache_root=folder / "cache",
        store=folder / "store",
        shard_rows=3,
        batch_size=2,
        engine=engine,
        progress=lambda total: progress.append,
        **options,
    )
    return done, sum(progress)


def stored(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "store").iterdir()}


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("alone")
    run(folder, Local(), *NUMBERS)
    return folder


def test_the_bytes_are_those_of_one_process_and_nothing_passes_twice(tmp_path, alone):
    done, reported = run(tmp_path, Processes(Tiny(tmp_path / "notes"), count=2), *NUMBERS)
    assert stored(tmp_path) == stored(alone)
    assert sorted(passed(tmp_path / "notes"), key=int) == NUMBERS
    assert done.passed == reported == len(NUMBERS)
    assert not multiprocessing.active_children()
    again, _ = run(tmp_path, Processes(Tiny(tmp_path / "notes"), count=2), *NUMBERS)
    assert again.passed == 0


@pytest.mark.slow
def test_a_killed_worker_costs_the_shards_that_it_was_at(tmp_path, alone, caplog):
    opener = Tiny(tmp_path / "notes", deadly={"7": 2, "13": 1})
    done, reported = run(tmp_path, Processes(opener, count=2), *NUMBERS)
    assert stored(tmp_path) == stored(alone)
    assert done.passed == reported == len(NUMBERS)
    assert caplog.text.count("a worker ended by SIGKILL; another goes on with its shards") == 3
    assert len(passed(tmp_path / "notes")) <= len(NUMBERS) + 3 * 3 * 2  # each had one shard being written, one begun


@pytest.mark.slow
def test_a_shard_that_kills_every_worker_is_named(tmp_path):
    opener = Tiny(tmp_path / "notes", deadly={"7": 99})
    named = (
        r"the shard of items 'item6' to 'item8' \(3 in view identity\): 5 workers ended over it, the last by SIGKILL"
    )
    with pytest.raises(IceboxError, match=named):
        run(tmp_path, Processes(opener, count=1), *NUMBERS)
    assert LOSSES_MAX == 5
    assert not multiprocessing.active_children()
    done, _ = run(tmp_path, Local(), *NUMBERS)
    assert done.passed < len(NUMBERS)  # what was finished before stays


def test_an_error_in_a_worker_is_the_planners(tmp_path):
    with pytest.raises(IceboxError, match="item 'item1': expected a number, found 'bad'; mend or remove it") as raised:
        run(tmp_path, Processes(Tiny(tmp_path / "notes"), count=1), "1", "bad", "3")
    assert raised.value.hint == "skip unreadable items"
    with pytest.raises(IceboxError, match="opened a backbone whose features are others than the planner's"):
        run(tmp_path, Processes(Tiny(tmp_path / "notes", version=2), count=1), "1", "3")
    done, _ = run(tmp_path, Processes(Tiny(tmp_path / "notes"), count=1), "1", "bad", "3", skip_unreadable=True)
    assert done.skipped == {"item1": "expected a number, found 'bad'"}


ENDLESS = """
import signal
from pathlib import Path
from icebox.features.engines.processes import Processes
from tests.features.engines.counting import Tiny
from tests.features.engines.test_processes import run
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    folder = Path({folder!r})
    run(folder, Processes(Tiny(folder / "notes", pause_s=5), count=2), *map(str, range(99)))
"""


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL])
def test_no_worker_outlives_its_parent(tmp_path, ending):
    script = tmp_path / "endless.py"
    script.write_text(ENDLESS.format(folder=str(tmp_path)))
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    parent = subprocess.Popen([sys.executable, str(script)], env=environment, stderr=subprocess.DEVNULL)
    workers = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
    if not workers.exists():
        parent.kill()
        pytest.skip("needs /proc")
    deadline = time.monotonic() + 60
    while not (tmp_path / "notes").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    children = workers.read_text().split()
    assert len(children) >= 2
    parent.send_signal(ending)
    parent.wait(timeout=30)
    while any(is_running(child) for child in children) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(is_running(child) for child in children)


def is_running(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False
