import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from icebox.features.errors import IceboxError
from icebox.features.extraction.extract import extract
from icebox.features.store.feature_store import FeatureStore
from icebox.pipeline.stores import export as store_export
from icebox.pipeline.stores.export import export
from tests.features.test_ragged import Spelling
from tests.tiny import Doubling, rows


def made(folder: Path, numbers, *, stored: str = "float32") -> FeatureStore:
    extract(
        rows(*map(str, numbers)),
        read=lambda source: source,
        backbone=Doubling(),
        cache_root=folder / "cache",
        store=folder / "store",
        shard_rows=3,
        stored=stored,
    )
    return FeatureStore(folder / "store")


@settings(max_examples=20, deadline=None)
@given(
    numbers=st.lists(st.integers(0, 99), min_size=1, max_size=20),
    stored=st.sampled_from(["float16", "float32"]),
    piece=st.integers(1, 8),
)
def test_what_was_stored_is_what_is_exported_whatever_the_pieces(tmp_path_factory, numbers, stored, piece):
    folder = tmp_path_factory.mktemp("x")
    store = made(folder, numbers, stored=stored)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store_export, "PIECE_ITEMS", piece)
        export(store, folder / "x.npz")
        export(store, folder / "x.parquet")
        export(store, folder / "x.npy", outputs=["grid"])
    with np.load(folder / "x.npz") as archive:
        assert set(archive) == {"item_id", "label", "split", "grid", "last"}
        for output in store.outputs:
            np.testing.assert_array_equal(archive[output], store.load(output=output), strict=True)
        assert archive["item_id"].tolist() == store.item_ids.tolist()
    mapped = np.load(folder / "x.npy", mmap_mode="r")
    np.testing.assert_array_equal(mapped, store.load(output="grid"), strict=True)
    table = parquet.read_table(folder / "x.parquet")
    assert table["label"].to_pylist() == store.labels.tolist()
    np.testing.assert_array_equal(np.array(table["grid"].to_pylist()), store.load(outputs=["grid"]))
    assert table.schema.field("grid").metadata == {b"shape": b"2,2"}
    with (folder / "x.csv").open(newline="") as stream:
        assert [line["item_id"] for line in csv.DictReader(stream)] == store.item_ids.tolist()


def test_one_split_alone(tmp_path):
    export(made(tmp_path, [1, 2]), tmp_path / "x.npz", split="test")
    with np.load(tmp_path / "x.npz") as archive:
        assert archive["last"].shape == (0, 2)


def test_an_unknown_format_names_the_known_ones(tmp_path):
    with pytest.raises(IceboxError, match=r"\.npz, \.parquet, \.npy"):
        export(made(tmp_path, [1]), tmp_path / "x.mat")


def test_npy_of_several_outputs_asks_for_one(tmp_path):
    with pytest.raises(IceboxError, match="add --output with last or grid"):
        export(made(tmp_path, [1]), tmp_path / "x.npy")


def test_equal_stores_export_equal_bytes(tmp_path):
    for name in ("a", "b"):
        store = made(tmp_path / name, range(5))
        export(store, tmp_path / name / "x.npz")
        export(store, tmp_path / name / "x.parquet")
    for file in ("x.npz", "x.parquet"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_tokens_vectors_are_exported_with_where_each_items_begin(tmp_path):
    extract(
        rows("12", "", "345"),
        read=lambda source: source,
        backbone=Spelling(),
        cache_root=tmp_path / "cache",
        store=tmp_path / "store",
    )
    store = FeatureStore(tmp_path / "store")
    export(store, tmp_path / "x.npz", outputs=["each"])
    with np.load(tmp_path / "x.npz") as found:
        assert found["each.offsets"].tolist() == [0, 2, 2, 5]
        np.testing.assert_array_equal(found["each"], store.ragged("each").values)
    export(store, tmp_path / "x.parquet")
    table = parquet.read_table(tmp_path / "x.parquet").to_pydict()
    assert table["each"] == [[[1, 2], [2, 4]], [], [[3, 6], [4, 8], [5, 10]]]
    assert table["last"] == [[12, 24], [0, 0], [345, 690]]
    with pytest.raises(IceboxError, match=r"'each' has a vector a token, not one an item; use \.npz or \.parquet"):
        export(store, tmp_path / "x.npy", outputs=["each"])
