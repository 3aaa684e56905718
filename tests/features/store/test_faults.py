"""Files that can't be read now, but are whole: nothing is removed, nothing set aside, one line says why."""

import errno
import random
import shutil
from pathlib import Path

import numpy as np
import pytest

from icebox.features.errors import IceboxError
from icebox.features.store import verification
from icebox.features.store.feature_store import FeatureStore
from icebox.features.store.shard_cache import pruning
from icebox.features.store.shard_cache.adoption import adopt
from icebox.features.store.shard_cache.compaction import compact
from tests import faults
from tests.tiny import extract_doubled

TRIALS = 60
FAULTS = [*faults.ERRNOS, MemoryError(), KeyboardInterrupt()]


def run(folder: Path, items: str = "01234567") -> list[str]:
    return extract_doubled(items, store=folder / "store", cache=folder / "cache")


WORK = {
    "extract again": lambda folder: run(folder),
    "extract more": lambda folder: run(folder, "0123456789"),
    "extract less": lambda folder: run(folder, "06"),
    "resume": lambda folder: shutil.rmtree(folder / "store") or run(folder),
    "adopt": lambda folder: shutil.rmtree(folder / "cache") or adopt(folder / "store", folder / "cache"),
    "repair": lambda folder: verification.repair(folder / "store", folder / "cache"),
    "verify": lambda folder: verification.verify_store(folder / "store"),
    "compact": lambda folder: compact(folder / "store", folder / "cache"),
    "prune": lambda folder: pruning.prune(folder / "cache", [folder / "store"]),
    "read": lambda folder: FeatureStore(folder / "store").load(),
}


def shards_below(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("shard-*")}


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A store and its cache, which hold rows of two items that are no longer in the manifest."""
    folder = tmp_path_factory.mktemp("project")
    run(folder, "0123456789")
    run(folder)
    return folder


@pytest.mark.slow
def test_no_read_error_costs_a_shard_whatever_the_command(project, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "users"))
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    draw, errors, left = random.Random(seed), [], {}
    for what, work in WORK.items():
        folder = tmp_path / what
        shutil.copytree(project, folder)
        work(folder)
        left[what] = shards_below(folder)
    for trial in range(TRIALS):
        what, fault = list(WORK)[trial % len(WORK)], draw.choice(FAULTS)
        where = {"names": draw.choice(["shard-", ""]), "after": draw.randrange(25), "times": draw.choice([1, 9**9])}
        folder = tmp_path / str(trial)
        shutil.copytree(project, folder)
        try:
            with faults.failing(fault, **where):
                WORK[what](folder)
        except (IceboxError, KeyboardInterrupt, OSError, MemoryError) as error:
            errors.append(error)
        kept = shards_below(folder)
        assert kept >= left[what] & shards_below(project), (seed, trial, what, fault, where)
        assert not [name for name in kept if "damaged" in name], (seed, trial, what, fault, where)
        if what != "adopt":  # which has begun by removing the cache
            assert run(folder) == [], (seed, trial, what, fault, where)
        shutil.rmtree(folder)
    lines = [str(error) for error in errors if not isinstance(error, KeyboardInterrupt)]
    assert len(lines) > TRIALS // 4
    assert not [line for line in lines if "\n" in line or "extract" in line]


@pytest.mark.parametrize("number", faults.ERRNOS)
def test_the_line_names_the_file_and_the_cause_and_no_other_remedy(project, number):
    store = FeatureStore(project / "store")
    with faults.failing(number), pytest.raises(IceboxError, match="shard-") as caught:
        store.load()
    message = str(caught.value)
    assert errno.errorcode[number] in errno.errorcode.values()
    assert "\n" not in message
    assert "open the store anew" not in message
    assert message.endswith(", then run this again")


@pytest.mark.parametrize("number", faults.ERRNOS)
def test_an_index_that_cannot_be_read_is_not_called_broken(project, number):
    with faults.failing(number, names="index.h5"), pytest.raises(IceboxError, match=r"index\.h5: ") as caught:
        FeatureStore(project / "store")
    assert caught.value.hint is None
    assert "expected an index" not in str(caught.value)


def test_a_store_that_is_read_while_files_run_out_gives_its_rows_afterwards(project):
    store = FeatureStore(project / "store")
    with faults.failing(errno.EMFILE), pytest.raises(IceboxError, match="Too many open files; close files"):
        store.load(output="last")
    assert store.load(output="last")[:, 0].tolist() == list(np.arange(8))
