import csv
from pathlib import Path

import numpy as np
import pyarrow
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
    with (folder / "x.rows.csv").open(newline="") as stream:
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


@pytest.mark.parametrize("name", ["x.npz", "x.parquet", "x.npy"])
def test_an_export_replaces_an_earlier_one_of_its_name(tmp_path, name):
    for numbers in ([1, 2], [3, 4, 5]):
        export(made(tmp_path, numbers), tmp_path / name, outputs=["last"])
    read = {
        "x.npz": lambda path: np.load(path)["last"],
        "x.parquet": lambda path: np.array(parquet.read_table(path)["last"].to_pylist()),
        "x.npy": np.load,
    }
    assert read[name](tmp_path / name)[:, 0].tolist() == [3, 4, 5]


def raw_files(folder: Path) -> dict[str, bytes]:
    """Files of the user's own that an export's names may meet."""
    folder.mkdir()
    np.save(folder / "array.npy", np.arange(3))
    np.savez(folder / "archive.npz", item_id=np.arange(3), label=np.arange(3), split=np.arange(3), last=np.arange(3))
    (folder / "notes.csv").write_text("text,label\ngood,1\n")
    (folder / "rows.rows.csv").write_text("item_id,label,split\n1,2,3\n")
    (folder / "broken.npz").write_bytes(b"PK nonsense")
    (folder / "broken.parquet").write_bytes(b"")
    parquet.write_table(pyarrow.table({"item_id": ["1"], "label": ["x"], "split": ["train"]}), folder / "table.parquet")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("name", "refused"),
    [
        ("array.npy", "array.npy"),
        ("archive.npz", "archive.npz"),
        ("table.parquet", "table.parquet"),
        ("broken.npz", "broken.npz"),
        ("broken.parquet", "broken.parquet"),
        ("rows.npy", "rows.rows.csv"),
        ("notes.npy", None),
        ("folder.npz", "folder.npz"),
    ],
)
def test_no_file_that_is_not_an_earlier_export_of_that_name_is_replaced(tmp_path, name, refused):
    store, raw = made(tmp_path, [1, 2]), tmp_path / "raw"
    before = raw_files(raw)
    (raw / "folder.npz").mkdir()
    if refused:
        with pytest.raises(IceboxError, match=f"{refused}: expected nothing there, or an earlier export"):
            export(store, raw / name, outputs=["last"])
    else:
        export(store, raw / name, outputs=["last"])
    assert {key: (raw / key).read_bytes() for key in before} == before
    assert not list(raw.glob(".tmp-*"))


@pytest.mark.parametrize("name", ["x.npz", "x.parquet", "x.npy"])
def test_a_failed_export_leaves_the_old_one_and_nothing_else(tmp_path, name, monkeypatch):
    export(made(tmp_path, [1, 2, 3]), tmp_path / "out" / name, outputs=["last"])
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    monkeypatch.setattr(store_export, "PIECE_ITEMS", 1)
    store, read = made(tmp_path, [4, 5, 6]), []

    def rows(items, output, *, view):
        read.append(items)
        if len(read) == 2:
            raise IceboxError("the disk is gone")
        return FeatureStore(store.folder).rows(items, output, view=view)

    store.rows = rows
    with pytest.raises(IceboxError, match="disk is gone"):
        export(store, tmp_path / "out" / name, outputs=["last"])
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
