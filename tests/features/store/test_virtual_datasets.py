"""Virtual datasets, written by HDF5's own calls, against those that h5py's slices give."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from icebox.features.store import index, virtual_datasets
from icebox.features.store.shards import ArrayLocation, Shard

ROWS = 7


@pytest.mark.parametrize("row_shape", [(), (5,), (2, 3)])
@pytest.mark.parametrize("order", ["whole", "half", "shuffled"])
def test_the_file_is_the_one_that_slices_give(tmp_path: Path, row_shape: tuple[int, ...], order: str) -> None:
    array = ArrayLocation("<f2", (ROWS, *row_shape), 2048)
    shards = [Shard(Path(f"shard-{i:032x}.h5"), "", [], {"last": array}, {}, {}) for i in range(3)]
    shard_of, row_of = np.repeat(np.arange(3), ROWS), np.tile(np.arange(ROWS), 3)
    kept = np.random.default_rng(0).permutation(3 * ROWS)
    kept = {"whole": np.arange(3 * ROWS), "half": np.sort(kept[:11]), "shuffled": kept}[order]
    shard_of, row_of = shard_of[kept], row_of[kept]
    layout = virtual_datasets.virtual_layout("last", shards, shard_of, row_of, row_of + 1)

    expected = h5py.VirtualLayout((len(kept), *row_shape), np.dtype("<f2"))
    expected.dcpl.set_obj_track_times(False)
    for first, last in virtual_datasets.runs(shard_of, row_of, row_of + 1):
        source = h5py.VirtualSource(shards[shard_of[first]].path.name, "features/last", array.shape, array.dtype)
        expected[first:last] = source[row_of[first] : row_of[last - 1] + 1]
    images = []
    for name, each in {"ours": layout, "slices": expected}.items():
        with h5py.File(tmp_path / name, "w") as file:
            file.create_virtual_dataset("features/last", each, fillvalue=np.nan)
        images.append((tmp_path / name).read_bytes())
    assert images[0] == images[1]


def test_columns_of_many_different_texts_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "DECODED_AT_ONCE", 3)
    texts = ["a", "b", "a", "", "c", "d", "e", "b", "\udcff", "a", "ä" * 5]
    assert index.decoded_texts(index.encoded_texts(texts)).tolist() == texts
    assert index.decoded_texts(index.encoded_texts([])).tolist() == []
