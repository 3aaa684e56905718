"""What verify finds, and what repair makes of it."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icebox.features.errors import IceboxError
from icebox.features.store import verification
from icebox.features.store.feature_store import FeatureStore
from icebox.features.store.shard_cache.cache import ShardCache
from icebox.features.store.verification import repair
from tests.tiny import extract_doubled


def run(folder: Path, items: str = "012345678") -> list[str]:
    return extract_doubled(items, store=folder / "store", cache=folder / "cache")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def overwrite(path: Path, data: bytes) -> None:
    """Change a file in place, under all its names."""
    path.chmod(0o644)
    path.write_bytes(data)


def flip(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 0xFF
    overwrite(path, bytes(data))


@pytest.fixture
def folder(tmp_path) -> Path:
    run(tmp_path)
    return tmp_path


@pytest.fixture
def victim(folder) -> Path:
    return FeatureStore(folder / "store").shards[1].path


def test_a_whole_store_has_no_damage(folder):
    assert verification.verify_store(folder / "store") == []


@settings(max_examples=40, deadline=None)
@given(where=st.floats(0, 0.999999))
def test_a_flipped_byte_anywhere_in_a_shard_is_found(tmp_path_factory, where):
    folder = tmp_path_factory.mktemp("x")
    run(folder, "012")
    path = FeatureStore(folder / "store").shards[0].path
    flip(path, int(where * path.stat().st_size))
    [found] = verification.verify_store(folder / "store")
    assert found.path == path
    assert "its bytes have changed" in str(found)


def test_a_truncated_and_a_missing_shard_are_both_found(folder):
    first, second, _ = (part.path for part in FeatureStore(folder / "store").shards)
    overwrite(first, first.read_bytes()[:-7])
    second.unlink()
    assert [(one.path, one.problem.split(" ")[0]) for one in verification.verify_store(folder / "store")] == [
        (first, "expected"),
        (second, "this"),
    ]


def everything_of(store: Path) -> list[np.ndarray]:
    opened = FeatureStore(store)
    return [opened.item_ids, opened.labels, opened.load(split="train")]


@pytest.mark.parametrize("column", ["item_id", "label", "split", "shard", "row"])
def test_a_flipped_byte_in_a_column_of_the_index_is_an_error_before_the_column_is_used(folder, column):
    import h5py

    path = folder / "store/index.h5"
    with h5py.File(path) as file:
        position = file[column].id.get_offset()
    flip(path, position)
    with pytest.raises(IceboxError, match=f"index.h5.*column {column} ") as caught:
        everything_of(folder / "store")
    assert (caught.value.hint, caught.value.values) == ("extract again", {"store": "store"})
    assert [one.path for one in verification.verify_store(folder / "store")] == [path]


def test_a_flipped_byte_in_an_attribute_of_the_index_is_an_error_at_once(folder):
    path = folder / "store/index.h5"
    flip(path, path.read_bytes().index(b"doubling"))
    with pytest.raises(IceboxError, match=r"index.h5.*attributes") as caught:
        FeatureStore(folder / "store")
    assert (caught.value.hint, caught.value.values) == ("extract again", {"store": "store"})
    assert [one.path for one in verification.verify_store(folder / "store")] == [path]


def test_labels_of_a_store_made_anew_are_never_mixed_with_the_features_of_the_one_before(folder):
    store = FeatureStore(folder / "store")
    run(folder, "8765")
    with pytest.raises(IceboxError, match="column label"):
        _ = store.labels


def test_a_flipped_byte_is_found_and_repaired_by_redoing_only_that_shard(folder, victim):
    whole = contents(folder / "store")
    flip(victim, victim.stat().st_size // 2)
    assert repair(folder / "store", folder / "cache") == [victim.name]
    with pytest.raises(IceboxError, match=f"{victim.name}.*missing") as caught:
        FeatureStore(folder / "store")
    assert (caught.value.hint, caught.value.values) == ("extract or restore", {"store": "store"})
    assert run(folder) == ["3", "4", "5"]
    assert contents(folder / "store") == whole


@pytest.mark.parametrize("where", ["store", "cache"])
def test_a_shard_that_is_whole_in_store_or_cache_mends_the_other(folder, victim, where):
    whole = contents(folder / "store")
    [cached] = folder.glob(f"cache/*/{victim.name}")
    bad = {"store": victim, "cache": cached}[where]
    data = bad.read_bytes()
    bad.unlink()  # so that the two are no longer one file
    bad.write_bytes(data[:-3] + b"bad")
    cache = ShardCache(folder / "cache", cached.parent.name)
    found = verification.verify_store(folder / "store") + verification.verify_cache(cache, folder / "store")
    assert [one.path for one in found] == [bad]
    assert repair(folder / "store", folder / "cache") == []
    assert contents(folder / "store") == whole
    assert cached.read_bytes() == data
    assert cached.stat().st_mode & 0o777 == 0o444
    assert run(folder) == []


def test_a_missing_shard_comes_back_from_the_cache(folder, victim):
    victim.unlink()
    assert repair(folder / "store", folder / "cache") == []
    np.testing.assert_array_equal(FeatureStore(folder / "store").load(output="last")[:, 0], np.arange(9))


def test_the_next_run_redoes_a_truncated_shard_and_no_other(folder, victim):
    whole = contents(folder / "store")
    overwrite(victim, victim.read_bytes()[:-1000])
    repair(folder / "store", folder / "cache")
    assert run(folder) == ["3", "4", "5"]
    assert contents(folder / "store") == whole
