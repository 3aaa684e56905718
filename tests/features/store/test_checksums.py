"""Shards are compared with their names when they enter a store, and once when they are first read on a machine."""

import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

from icebox.features import fingerprint
from icebox.features.errors import IceboxError
from icebox.features.store import shards
from icebox.features.store.feature_store import FeatureStore
from icebox.features.store.shard_cache.adoption import adopt
from icebox.features.store.shard_cache.cache import ShardCache
from icebox.features.store.shard_cache.compaction import compact
from tests.features.store.test_verification import flip, overwrite
from tests.tiny import extract_doubled

pytestmark = pytest.mark.usefixtures("project")


@pytest.fixture
def hashed(monkeypatch) -> list[Path]:
    """The files that were read whole."""
    read: list[Path] = []
    real, lock = fingerprint.of_file, threading.Lock()

    def of_file(path: Path) -> str:
        with lock:
            read.append(path)
        return real(path)

    monkeypatch.setattr(fingerprint, "of_file", of_file)
    return read


def run(folder: Path, items: str = "012345678") -> list[str]:
    return extract_doubled(items, store=folder / "store", cache=folder / ".icebox/shards")


def cached(folder: Path) -> list[Path]:
    return sorted(folder.glob(".icebox/shards/*/shard-*.h5"))


def shard_of(folder: Path, item: int) -> Path:
    store = FeatureStore(folder / "store")
    return folder / "store" / store.index.shards[store.index.shard_of[0, item]].name


def everything(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "store").iterdir()}


@pytest.mark.parametrize("where", [0.0, 0.3, 0.6, 0.9, 0.9999])
@pytest.mark.parametrize("emptied", [True, False])
def test_a_flipped_byte_in_the_cache_is_extracted_anew_and_told(project, caplog, where, emptied):
    run(project)
    whole = everything(project)
    victim = next(path for path in cached(project) if path.name == shard_of(project, 3).name)
    if emptied:
        shutil.rmtree(project / "store")
    flip(victim, int(where * victim.stat().st_size))
    assert run(project) == ["3", "4", "5"]
    assert everything(project) == whole
    assert [path.name for path in victim.parent.glob("*.damaged*")] == [f"{victim.name}.damaged"]
    assert [victim.name in record.getMessage() for record in caplog.records if "again" in record.getMessage()] == [
        True
    ] * (1 if emptied else 2)


def test_a_flipped_byte_in_a_store_is_an_error_that_says_what_to_run(project):
    run(project)
    victim = shard_of(project, 3)
    flip(victim, victim.stat().st_size - 20)
    store = FeatureStore(project / "store")  # ids and labels are not in doubt
    assert len(store.labels) == 9
    for read in (
        lambda: store.load(output="last"),
        lambda: store.rows(np.array([4]), "last"),
        lambda: next(store.batches(9)),
        lambda: store.as_torch()[5],
    ):
        with pytest.raises(IceboxError, match=f"{victim.name}: its bytes have changed") as caught:
            read()
        assert (caught.value.hint, caught.value.values) == ("repair the store", {"store": "store"})
    assert store.rows(np.array([8]), "last").tolist() == [[8, 16]]  # of another shard


def test_two_shards_of_equal_size_that_were_swapped_are_an_error(project):
    run(project)
    one, other = shard_of(project, 0), shard_of(project, 3)
    data = one.read_bytes(), other.read_bytes()
    assert len(data[0]) == len(data[1])
    overwrite(one, data[1])
    overwrite(other, data[0])
    with pytest.raises(IceboxError, match="its bytes have changed: they are those of"):
        FeatureStore(project / "store").load()


def test_a_damaged_shard_is_not_compacted_into_one_with_a_new_name(project):
    run(project)
    run(project, "01234567")
    victim = shard_of(project, 6)
    before = everything(project)
    flip(victim, victim.stat().st_size - 20)
    with pytest.raises(IceboxError, match=victim.name):
        compact(project / "store", project / ".icebox/shards")
    assert everything(project).keys() == before.keys()


def test_a_whole_shard_of_a_store_mends_the_caches(project):
    run(project)
    victim = cached(project)[0]
    data = victim.read_bytes()
    victim.unlink()
    victim.write_bytes(data[:-1] + b"x")
    assert run(project) == []
    assert victim.read_bytes() == data


def test_a_damaged_shard_of_a_pulled_store_is_not_adopted(project, caplog):
    run(project)
    shutil.rmtree(project / ".icebox/shards")
    victim = shard_of(project, 3)
    flip(victim, 3000)
    assert adopt(project / "store", project / ".icebox/shards") == {path.name for path in cached(project)}
    assert len(cached(project)) == 2
    assert victim.exists()
    assert victim.name in caplog.text


def test_of_shards_that_are_the_cache_s_own_files_one_is_opened(project, monkeypatch):
    run(project)
    opened, read = [], shards.read
    monkeypatch.setattr(shards, "read", lambda path: opened.append(path.name) or read(path))
    names = {path.name for path in cached(project)}
    assert adopt(project / "store", project / ".icebox/shards") == names
    assert len(names) == 3
    assert len(opened) == 1
    gone = cached(project)[-1]
    gone.unlink()
    assert adopt(project / "store", project / ".icebox/shards") == names
    assert gone.exists()


def test_a_shard_is_linked_in_the_place_of_another_file_and_never_written_through_it(project):
    run(project)
    path = cached(project)[0]
    cache, other, store = ShardCache(path.parent.parent, path.parent.name), project / "other", project / "new"
    store.mkdir()
    other.write_bytes(b"other")
    os.link(other, store / path.name)
    for _ in range(2):
        cache.link_into(store, [path])
        assert path.samefile(store / path.name)
        assert [each.name for each in store.iterdir()] == [path.name]
    assert other.read_bytes() == b"other"


def test_what_was_extracted_here_is_not_read_whole_again(project, hashed):
    run(project)
    assert len(hashed) == 3  # for their names
    FeatureStore(project / "store").load()
    shutil.rmtree(project / "store")
    assert run(project) == []
    FeatureStore(project / "store").load()
    assert len(hashed) == 3


def pulled(project: Path) -> Path:
    """A copy of the store, as DVC makes it: other files of the same bytes."""
    run(project)
    shutil.copytree(project / "store", project / "pulled")
    return project / "pulled"


def test_a_store_from_elsewhere_is_read_whole_once_and_then_remembered(project, hashed):
    folder = pulled(project)
    hashed.clear()
    for _ in range(3):
        FeatureStore(folder).load()
    assert sorted(path.name for path in hashed) == [path.name for path in shards.paths(folder)]


def test_only_the_shards_that_are_needed_are_read_whole(project, hashed):
    store = FeatureStore(pulled(project))
    hashed.clear()
    store.rows(np.array([0]), "last")
    assert len(hashed) == 1


@pytest.mark.parametrize("harm", ["missing", "empty", "garbage", "torn", "a folder", "not readable"])
def test_without_a_usable_record_shards_are_read_again_and_the_rows_are_right(project, hashed, harm, monkeypatch):
    folder = pulled(project)
    FeatureStore(folder).load()
    [record] = Path(".icebox/checked").iterdir()
    text = record.read_bytes()
    record.unlink()
    match harm:
        case "empty" | "garbage":
            record.write_bytes(b"" if harm == "empty" else os.urandom(300))
        case "torn":
            record.write_bytes(text[: len(text) // 2])
        case "a folder":
            record.mkdir()
        case "not readable":
            shutil.rmtree(".icebox/checked")
            Path(".icebox/checked").write_text("")
    hashed.clear()
    assert FeatureStore(folder).load(output="last")[:, 0].tolist() == list(range(9))
    assert len(hashed) in (2, 3)
    if harm not in ("a folder", "not readable"):
        hashed.clear()
        FeatureStore(folder).load()
        assert hashed == []


def test_a_flip_that_keeps_the_size_is_noticed_by_the_time_of_change(project):
    folder = pulled(project)
    FeatureStore(folder).load()
    flip(shards.paths(folder)[0], 3000)
    with pytest.raises(IceboxError, match="its bytes have changed"):
        FeatureStore(folder).load()
