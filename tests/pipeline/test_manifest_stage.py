from features import plan
from features.extract import extract
from features.shard_cache import ShardCache
from features.store import FeatureStore
from pipeline import paths
from pipeline.stages import manifest
from tests.tiny import Doubling, rows


def make_store() -> FeatureStore:
    """A store of two shards, made by somebody else's cache."""
    extract(
        rows("1", "2", "3", "4"),
        read=lambda source: source,
        backbone=Doubling(),
        cache_root=paths.SHARDS.parent / "elsewhere",
        store=paths.store("s"),
        shard_rows=2,
    )
    return FeatureStore(paths.store("s"))


def test_a_stores_shards_and_precision_outlive_what_dvc_deletes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = make_store()
    manifest.adopt("s")
    assert len(ShardCache(paths.SHARDS, store.fingerprint).places()) == 4
    assert plan.recorded(store.spec, paths.PLANS) == "float32"


def test_a_damaged_shard_does_not_stop_the_stage_and_costs_only_itself(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = make_store()
    victim = next(paths.store("s").glob("shard-*.h5"))
    victim.unlink()
    victim.write_bytes(b"not an HDF5 file")
    manifest.adopt("s")
    assert len(ShardCache(paths.SHARDS, store.fingerprint).places()) == 2


def test_a_store_without_an_index_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_store()
    (paths.store("s") / "index.h5").unlink()
    manifest.adopt("s")
    assert not paths.SHARDS.exists()
