"""What streams out of a store: batches, torch's and LightGBM's way of reading."""

import multiprocessing
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icebox.features.errors import IceboxError
from icebox.features.extraction.extract import extract
from icebox.features.extraction.precision import Stored
from icebox.features.store import memory_maps
from icebox.features.store.feature_store import FeatureStore
from tests.tiny import Doubling, rows


def made(
    folder: Path, numbers, *, shard_rows: int = 3, split: str = "train", stored: Stored = "float32"
) -> FeatureStore:
    extract(
        rows(*map(str, numbers), split=split),
        read=lambda source: source,
        backbone=Doubling(),
        cache_root=folder / "cache",
        store=folder / "store",
        shard_rows=shard_rows,
        stored=stored,
    )
    return FeatureStore(folder / "store")


def test_one_output_keeps_its_shape_and_several_lie_flat_side_by_side(tmp_path):
    store = made(tmp_path, [1, 2])
    assert store.load(output="grid").shape == (2, 2, 2)
    assert store.load(outputs=["grid"]).shape == (2, 4)
    assert store.load(output="last")[1].tolist() == [2, 4]


def test_one_output_and_several_at_once_is_an_error(tmp_path):
    with pytest.raises(IceboxError, match="found both"):
        made(tmp_path, [1]).load(output="last", outputs=["grid"])


def test_an_unknown_split_suggests_a_known_one(tmp_path):
    with pytest.raises(IceboxError, match="no split 'trian'; did you mean 'train'"):
        made(tmp_path, [1]).load(split="trian")


@settings(max_examples=30, deadline=None)
@given(
    numbers=st.lists(st.integers(0, 9), min_size=1, max_size=20),
    shard_rows=st.integers(1, 7),
    size=st.integers(1, 25),
    seed=st.none() | st.integers(0, 3),
)
def test_batches_give_every_item_once_with_its_own_features(tmp_path_factory, numbers, shard_rows, size, seed):
    store = made(tmp_path_factory.mktemp("x"), numbers, shard_rows=shard_rows)
    batches = list(store.batches(size, outputs=["last"], shuffle_seed=seed))
    assert all(len(features) == len(items) == size for features, items in batches[:-1])
    items = np.concatenate([items for _, items in batches])
    assert sorted(items) == list(range(len(numbers)))
    assert seed is not None or items.tolist() == list(range(len(numbers)))
    np.testing.assert_array_equal(np.concatenate([features for features, _ in batches])[:, 0], np.array(numbers)[items])


def test_the_same_seed_shuffles_the_same_way(tmp_path):
    store = made(tmp_path, range(20))
    orders = [[items.tolist() for _, items in store.batches(7, shuffle_seed=seed)] for seed in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2]


def test_batches_of_a_split_hold_nothing_else(tmp_path):
    store = made(tmp_path, [1, 2, 3], split="test")
    assert not list(store.batches(2, split="train"))
    assert [len(items) for _, items in store.batches(2, split="test")] == [2, 1]


def test_a_batch_of_no_items_is_an_error(tmp_path):
    with pytest.raises(IceboxError, match="size of 1 item or more"):
        next(made(tmp_path, [1]).batches(0))


def test_more_shards_than_maps_may_be_open_read_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(memory_maps, "MAX_OPEN", 2)
    store = made(tmp_path, range(9), shard_rows=1)
    wanted = np.array([8, 0, 4, 4, 1])
    assert store.rows(wanted, "last")[:, 0].tolist() == wanted.tolist()


def test_a_shard_that_vanishes_after_opening_is_named(tmp_path):
    store = made(tmp_path, [1])
    store.shards[0].path.unlink()
    with pytest.raises(IceboxError, match=r"shard-.*open the store anew"):
        store.load()


def test_a_pickled_store_carries_no_open_maps(tmp_path):
    store = made(tmp_path, range(5))
    expected = store.load()
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(store)).load(), expected)  # noqa: S301 our own bytes


def total(task: tuple[FeatureStore, int]) -> float:
    store, seed = task
    return float(sum(features[:, 0].sum() for features, _ in store.batches(4, outputs=["last"], shuffle_seed=seed)))


def test_several_processes_read_one_store(tmp_path):
    store = made(tmp_path, range(20))
    store.load()  # with maps open, as a parent may have them
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert pool.map(total, [(store, seed) for seed in range(4)]) == [190.0] * 4


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.slow
def test_a_torch_loader_gives_features_and_class_numbers(tmp_path, workers):
    torch_data = pytest.importorskip("torch.utils.data")
    store = made(tmp_path, [1, 22, 3, 44, 5])
    dataset = store.as_torch(outputs=["last"])
    assert dataset.classes == ["0", "1"]
    assert dataset[1][0].tolist() == [22, 44]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch about this machine's number of cores
        start = "spawn" if workers else None
        loader = torch_data.DataLoader(dataset, batch_size=2, num_workers=workers, multiprocessing_context=start)
        features, numbers = zip(*loader, strict=True)
    assert [value for batch in features for value in batch[:, 0].tolist()] == [1, 22, 3, 44, 5]
    assert [number for batch in numbers for number in batch.tolist()] == [1, 0, 1, 0, 1]
    assert {str(batch.dtype) for batch in features} == {"torch.float32"}
