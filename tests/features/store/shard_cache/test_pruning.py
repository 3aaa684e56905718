import pytest

from icebox.features import files
from icebox.features.errors import IceboxError
from icebox.features.extraction.extract import extract
from icebox.features.store.feature_store import FeatureStore
from icebox.features.store.shard_cache.pruning import prune
from tests.tiny import Doubling, rows


def run(folder, items, *, store="store", version=1):
    extract(
        rows(*items),
        read=lambda source: source,
        backbone=Doubling(version=version),
        cache_root=folder / "cache",
        store=folder / store,
        shard_rows=1,
    )


def test_only_shards_that_no_store_lists_go(tmp_path):
    run(tmp_path, "123")
    run(tmp_path, "23", store="other")
    run(tmp_path, "1")
    assert prune(tmp_path / "cache", [tmp_path / "store", tmp_path / "other"]) == []
    [freed] = prune(tmp_path / "cache", [tmp_path / "store"])
    assert (freed.shards, freed.freed_bytes) == (2, 0)  # the other store's links keep the bytes
    FeatureStore(tmp_path / "other").load()


def test_a_fingerprint_without_a_store_is_emptied_and_its_bytes_are_free(tmp_path):
    run(tmp_path, "12", version=1)
    run(tmp_path, "12", version=2)  # the same folder: its old shards are now the cache's alone
    old_bytes = sum(path.stat().st_size for path in (tmp_path / "cache").glob("*/shard-*.h5") if path.stat().st_nlink == 1)  # fmt: skip  # noqa: E501
    [freed] = prune(tmp_path / "cache", [tmp_path / "store"])
    assert (freed.shards, freed.freed_bytes) == (2, old_bytes)
    assert old_bytes > 0


def test_a_cache_in_use_is_left_alone(tmp_path):
    run(tmp_path, "1")
    folder = next((tmp_path / "cache").iterdir())
    with files.locked(folder / "lock"), pytest.raises(IceboxError, match="another process"):
        prune(tmp_path / "cache", [])
    assert list(folder.glob("shard-*.h5"))


def test_a_store_whose_index_is_broken_stops_it(tmp_path):
    run(tmp_path, "1")
    (tmp_path / "store/index.h5").write_bytes(b"nonsense")
    with pytest.raises(IceboxError, match="expected an index"):
        prune(tmp_path / "cache", [tmp_path / "store"])


def test_no_cache_at_all_is_nothing_to_do(tmp_path):
    assert prune(tmp_path / "nowhere", []) == []
