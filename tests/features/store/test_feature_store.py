import dataclasses
from pathlib import Path

import numpy as np
import pytest

from icebox.features.errors import IceboxError
from icebox.features.extraction.extract import extract
from icebox.features.store.feature_store import FeatureStore
from tests.tiny import Doubling, rows


@pytest.fixture
def folder(tmp_path) -> Path:
    extract(
        rows("1", "2", "3", "4"),
        read=lambda source: source,
        backbone=Doubling(),
        cache_root=tmp_path / "cache",
        store=tmp_path / "digits-tiny",
        shard_rows=2,
    )
    return tmp_path / "digits-tiny"


def test_an_unfinished_store_hints_at_its_extraction(tmp_path):
    with pytest.raises(IceboxError, match="no finished feature store") as caught:
        FeatureStore(tmp_path / "digits-tiny")
    assert (caught.value.hint, caught.value.values) == ("extract", {"store": "digits-tiny"})


def test_a_missing_shard_is_named_instead_of_read_as_zeros(folder):
    victim = next(folder.glob("shard-*.h5"))
    victim.unlink()
    with pytest.raises(IceboxError, match=f"{victim.name}.*missing") as caught:
        FeatureStore(folder)
    assert (caught.value.hint, caught.value.values) == ("extract or restore", {"store": "digits-tiny"})


def test_a_truncated_shard_is_named_with_both_sizes(folder):
    victim = next(folder.glob("shard-*.h5"))
    whole = victim.read_bytes()
    victim.unlink()
    victim.write_bytes(whole[:-5])
    with pytest.raises(IceboxError, match=f"{victim.name}: expected {len(whole):,} bytes, found {len(whole) - 5:,}"):
        FeatureStore(folder)


def test_a_broken_index_hints_at_extracting_again(folder):
    (folder / "index.h5").write_bytes(b"nonsense")
    with pytest.raises(IceboxError, match="expected an index") as caught:
        FeatureStore(folder)
    assert (caught.value.hint, caught.value.values) == ("extract again", {"store": "digits-tiny"})


def test_an_unknown_output_suggests_a_known_one(folder):
    with pytest.raises(IceboxError, match="no output 'lost'; did you mean 'last'"):
        FeatureStore(folder).load(outputs=["lost"])


def test_a_moved_store_still_reads(folder, tmp_path):
    moved = folder.rename(tmp_path / "elsewhere")
    np.testing.assert_array_equal(FeatureStore(moved).load(outputs=["last"])[:, 0], [1, 2, 3, 4])


def test_two_outputs_are_laid_side_by_side(folder):
    np.testing.assert_array_equal(FeatureStore(folder).load(outputs=["last", "grid"])[1], [2, 4, 2, 2, 2, 2])


def test_a_further_test_set_is_a_split_and_an_unknown_one_suggests_what_there_is(tmp_path):
    made = [*rows("1", "2"), *rows("5", split="test-other")]
    made = [dataclasses.replace(row, item_id=str(i)) for i, row in enumerate(made)]
    extract(made, read=str, backbone=Doubling(), cache_root=tmp_path / "cache", store=tmp_path / "s")
    store = FeatureStore(tmp_path / "s")
    assert store.labels[store.items("test-other")].tolist() == ["1"]
    assert store.load(split="test-other", output="last")[:, 0].tolist() == [5]
    assert len(store.items("test")) == 0
    with pytest.raises(IceboxError, match="no split 'test-othr'; did you mean 'test-other'"):
        store.items("test-othr")
