"""Targets from a dataset into its store, and what looks after stores makes of them."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from icebox.features.abc.dataset import DenseDataset, Item
from icebox.features.abc.targets import Mask
from icebox.features.errors import IceboxError
from icebox.features.extraction.extract import extract
from icebox.features.extraction.targets import write_targets
from icebox.features.store import targets, verification
from icebox.features.store.feature_store import FeatureStore
from icebox.features.store.shard_cache.compaction import compact
from icebox.pipeline.exploration import explore
from tests.tiny import Doubling, rows

CONTENTS = ("1", "2", "3", "4")


class Masks(DenseDataset):
    task = "segmentation"

    @property
    def classes(self) -> tuple[str, ...]:
        return ("sky", "pole")

    def items(self) -> Iterator[Item]:
        yield from ()

    def read(self, source: str) -> str:
        return source

    def target(self, source: str) -> Mask:
        return Mask(np.array([[0, int(source) % 2]], np.int16))

    def target_file(self, source: str) -> str:
        return f"{source}.png"


def labelled(*contents: str):
    split = {"3": "test", "4": "test"}
    return [
        replace(row, label=Masks().target(row.source).digest, split=split.get(row.source, "train"))
        for row in rows(*contents)
    ]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    write_targets(tmp_path / "store", labelled(*CONTENTS), Masks())
    make(tmp_path, *CONTENTS)
    return tmp_path / "store"


def make(folder: Path, *contents: str) -> None:
    extract(
        labelled(*contents), read=Masks().read, backbone=Doubling(), cache_root=folder / "cache", store=folder / "store"
    )


def test_a_store_knows_its_targets(store):
    opened = FeatureStore(store)
    assert opened.has_targets
    assert opened.targets.task == "segmentation"
    assert opened.targets[0].classes.tolist() == [[0, 1]]
    assert verification.verify_store(store) == []


def test_a_target_that_is_not_the_manifests_is_an_error_that_names_its_file(tmp_path):
    changed = [replace(row, label="0" * 64) for row in labelled("1")]
    with pytest.raises(IceboxError, match=r"item 'item0': 1\.png holds another target than when the manifest"):
        write_targets(tmp_path / "store", changed, Masks())
    assert not (tmp_path / "store" / targets.FILE).exists()


@pytest.mark.parametrize("content", [None, b"no HDF5"])
def test_verify_finds_targets_that_are_gone_or_damaged_and_repair_calls_them_lost(store, content):
    (store / targets.FILE).unlink()
    if content:
        (store / targets.FILE).write_bytes(content)
    [damage] = verification.verify_store(store)
    assert damage.path.name == targets.FILE
    assert verification.repair(store, store.parent / "cache") == [targets.FILE]
    assert not list(store.parent.rglob("*damaged*"))


def test_compaction_keeps_the_targets(store):
    make(store.parent, *CONTENTS[:3])
    compact(store, store.parent / "cache")
    assert FeatureStore(store).targets[2].classes.tolist() == [[0, 1]]


def test_a_look_at_it_maps_mean_pooled_features_without_suspecting_labels(store):
    opened = FeatureStore(store)
    document = explore.explore(opened, task="segmentation", group_of=str, seed=0, on_step=lambda: None)
    assert document["suspects"] == []
    assert document["map"]["item_ids"] == ["item2", "item3"]
    assert [near[0] for near in document["nearest"]["item2"]] == ["item0", "item1"]
