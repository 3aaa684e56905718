from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icebox.features.extraction.extract import extract
from icebox.features.store import verification
from icebox.features.store.feature_store import FeatureStore
from icebox.features.store.shard_cache.compaction import compact
from tests.tiny import Doubling, rows


def run(folder: Path, contents, *, store: str = "store", backbone=None, **options):
    backbone = backbone or Doubling()
    extract(
        rows(*contents),
        read=lambda source: source,
        backbone=backbone,
        cache_root=folder / "cache",
        store=folder / store,
        shard_rows=3,
        **options,
    )
    return backbone


def numbers(folder: Path) -> list[float]:
    return FeatureStore(folder).load(output="last")[:, 0].tolist()


@settings(max_examples=30, deadline=None)
@given(
    first=st.lists(st.integers(0, 20), min_size=1, max_size=20),
    second=st.lists(st.integers(0, 20), min_size=1, max_size=12),
    shard_rows=st.integers(1, 5),
)
@pytest.mark.slow
def test_a_compacted_store_reads_the_same_and_holds_nothing_else(tmp_path_factory, first, second, shard_rows):
    folder = tmp_path_factory.mktemp("x")
    run(folder, map(str, first))
    run(folder, map(str, second))
    done = compact(folder / "store", folder / "cache", shard_rows=shard_rows)
    assert numbers(folder / "store") == second
    store = FeatureStore(folder / "store")
    assert sum(len(part.item_keys) for part in store.shards) == len(set(second))
    assert done.rows_dropped >= 0
    assert verification.verify_store(folder / "store") == []
    assert compact(folder / "store", folder / "cache", shard_rows=shard_rows).shards_rewritten == 0
    again = run(folder, map(str, second)).passed
    assert len(again) <= 4  # the canary's, nothing new


def test_only_shards_with_unneeded_rows_are_rewritten(tmp_path):
    run(tmp_path, "012345")
    run(tmp_path, "01234")
    kept, _ = (part.path.name for part in FeatureStore(tmp_path / "store").shards)
    done = compact(tmp_path / "store", tmp_path / "cache")
    assert (done.rows_dropped, done.shards_rewritten) == (1, 1)
    assert FeatureStore(tmp_path / "store").shards[0].path.name == kept


def test_what_another_store_needs_stays_in_the_cache(tmp_path):
    run(tmp_path, "012")
    run(tmp_path, "012", store="other")
    run(tmp_path, "0")
    compact(tmp_path / "store", tmp_path / "cache", others=[tmp_path / "other"])
    assert len(list((tmp_path / "cache").glob("*/shard-*.h5"))) == 2
    assert numbers(tmp_path / "other") == [0, 1, 2]


def test_the_next_extraction_takes_the_compacted_rows(tmp_path):
    run(tmp_path, "012345")
    run(tmp_path, "035")
    compact(tmp_path / "store", tmp_path / "cache")
    before = {path.name: path.read_bytes() for path in (tmp_path / "store").iterdir()}
    run(tmp_path, "035")
    assert {path.name: path.read_bytes() for path in (tmp_path / "store").iterdir()} == before


def test_contents_that_could_not_be_read_stay_known_as_such(tmp_path):
    run(tmp_path, ["1", "bad", "3", "4"], skip_unreadable=True)
    run(tmp_path, ["bad", "3"], skip_unreadable=True)
    compact(tmp_path / "store", tmp_path / "cache")
    store = FeatureStore(tmp_path / "store")
    assert store.skipped == {"item0": "expected a number, found 'bad'"}
    assert [part.errors for part in store.shards] == [{1: "expected a number, found 'bad'"}]


@pytest.mark.parametrize("order", [("2", "70000"), ("70000", "2")])
def test_a_store_of_two_number_formats_reads_as_the_wider_one(tmp_path, order):
    extract(
        rows(*order),
        read=lambda source: source,
        backbone=Doubling(),
        cache_root=tmp_path / "cache",
        store=tmp_path / "store",
        shard_rows=1,
        stored="float16",
    )
    store = FeatureStore(tmp_path / "store")
    assert {part.arrays["last"].dtype for part in store.shards} == {"<f2", "<f4"}
    assert store.dtype("last") == np.float32
    assert store.load(output="last")[:, 0].tolist() == [float(number) for number in order]
    assert verification.verify_store(tmp_path / "store") == []  # plain h5py reads the same
