import errno
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from icebox.features.errors import IceboxError
from icebox.features.extraction import precision
from icebox.features.extraction.extract import extract
from icebox.features.manifest.manifest import ManifestRow, read
from icebox.features.store.feature_store import FeatureStore
from icebox.features.store.shard_cache.cache import ShardCache
from icebox.pipeline.config import loader
from icebox.pipeline.project import paths
from icebox.pipeline.stages import manifest
from tests import faults
from tests.tiny import Doubling, rows


def make_store() -> FeatureStore:
    """A store of two shards, made by somebody else's cache."""
    extract(
        rows("1", "2", "3", "4"),
        read=lambda source: source,
        backbone=Doubling(),
        cache_root=paths.shards().parent / "elsewhere",
        store=paths.store("s"),
        shard_rows=2,
    )
    return FeatureStore(paths.store("s"))


def test_a_stores_shards_and_precision_outlive_what_dvc_deletes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = make_store()
    manifest.keep_shards("s", dataset="d")
    assert len(ShardCache(paths.shards(), store.fingerprint).places()) == 4
    assert precision.recorded_precision(store.spec, paths.PRECISIONS) == "float32"


def test_a_damaged_shard_does_not_stop_the_stage_and_costs_only_itself(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = make_store()
    victim = next(paths.store("s").glob("shard-*.h5"))
    victim.unlink()
    victim.write_bytes(b"not an HDF5 file")
    manifest.keep_shards("s", dataset="d")
    assert len(ShardCache(paths.shards(), store.fingerprint).places()) == 2


@pytest.mark.parametrize("index", [None, b"damaged"])
def test_shards_beside_a_missing_or_damaged_index_outlive_it_too(tmp_path, monkeypatch, index):
    monkeypatch.chdir(tmp_path)
    store = make_store()
    (paths.store("s") / "index.h5").unlink()
    if index:
        (paths.store("s") / "index.h5").write_bytes(index)
    manifest.keep_shards("s", dataset="d")
    assert len(ShardCache(paths.shards(), store.fingerprint).places()) == 4


def test_a_shard_that_cannot_be_read_now_stops_the_stage_before_dvc_deletes_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_store()
    with faults.failing(errno.EIO), pytest.raises(IceboxError, match=r"shard-.*Input/output error"):
        manifest.keep_shards("s", dataset="d")


PARAMS = """
datasets:
  notes: {source: csv_text, path: notes.csv, split: SPLIT}
backbones: {hashing: {}}
stores:
  notes-hashing: {dataset: notes, backbone: hashing}
heads: {logreg: {}}
"""
NOTES = """text,label,part
same,x,train
other,y,train
same,y,test
more,x,val
"""


@pytest.fixture
def run(tmp_path, monkeypatch) -> Callable[[str], list[ManifestRow]]:
    """Run the stage with this `split:` of params.yaml; the manifest that it wrote."""
    monkeypatch.chdir(tmp_path)

    def with_split(split: str) -> list[ManifestRow]:
        paths.PARAMS.write_text(PARAMS.replace("SPLIT", split))
        manifest.run(loader.load(), "notes")
        return read(paths.manifest("notes"))

    Path("notes.csv").write_text(NOTES)
    return with_split


@pytest.mark.parametrize("split", ["part", "{column: part}", "2", "{column: 2, seed: 1}"])
def test_leakage_stops_the_stage_and_nothing_is_written(run, split):
    with pytest.raises(IceboxError, match=r"datasets.notes: leakage: contents on two sides.* 0 \(train, x\) = 2"):
        run(split)
    assert not paths.manifest("notes").exists()


def test_what_was_dropped_is_logged_and_kept_beside_the_manifest(run, caplog):
    assert [row.item_id for row in run("{column: part, leakage: drop}")] == ["1", "2", "3"]
    line = "notes: contents on two sides of the split: 1 (2 items), 0 (train, x) = 2 (test, y); 1 left out of train"
    assert line in caplog.messages
    found = json.loads(paths.findings("notes").read_text())
    assert [finding["kind"] for finding in found] == [
        "content_on_two_sides",
        "conflicting_labels",
        "classes_not_in_train",
        "small_split",
        "small_split",
    ]


def test_a_clean_dataset_has_an_empty_list_of_findings(run):
    rows = [f"text {i},{'xy'[i % 2]},{split}" for split in ("train", "val", "test") for i in range(50)]
    Path("notes.csv").write_text("text,label,part\n" + "\n".join(f"{split}{row}" for split, row in enumerate(rows)))
    run("part")
    assert json.loads(paths.findings("notes").read_text()) == []


def test_what_reading_passed_over_is_printed_and_kept_among_the_findings(run, caplog):
    Path("notes.csv").write_text(NOTES.replace("same,y,test", ",y,test"))
    run("part")
    assert "notes: texts that are empty; they stay, since they have a label: 1, 2\n" in caplog.text
    found = {finding["kind"]: finding for finding in json.loads(paths.findings("notes").read_text())}
    assert (found["empty_texts"]["items"], found["empty_texts"]["first"][0][0]["item_id"]) == (1, "2")
