"""Maps projected on the principal components of train."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.decomposition import PCA

from icebox.features import fingerprint
from icebox.features.abc.dataset import Content
from icebox.features.errors import IceboxError, ItemError
from icebox.features.extraction import projection
from icebox.features.extraction.extract import extract
from icebox.features.extraction.projection import ProjectedBackbone
from icebox.features.store.feature_store import FeatureStore
from icebox.pipeline.project import paths
from icebox.pipeline.stages.manifest import keep_shards
from tests.tiny import Doubling, rows


class Cells(Doubling):
    """Content → a map (2, 3, 4) and a vector; "bad" can't be read."""

    outputs = ("deep:map", "last")

    def prepare(self, content: Content) -> np.ndarray:
        if content == "bad":
            raise ItemError("expected a number, found 'bad'")
        return np.random.default_rng(int(str(content))).normal(size=(2, 3, 4)).astype(np.float32) * [1, 2, 3, 4] + 5

    def encode(self, prepared: Any) -> dict[str, np.ndarray]:
        maps = np.stack(prepared).astype(np.float32)
        return {"deep:map": maps, "last": maps[:, 0, 0]}


ITEMS = [*rows("1", "2", "3", "4"), *(replace(row, item_id="t") for row in rows("9", split="test"))]


def fit(backbone: Cells, items=ITEMS, k: int = 2) -> projection.Basis:
    return projection.fit(
        backbone, items, str, "identity", k=k, origin=projection.origin_of(backbone.spec, k, "scenes")
    )


def test_the_basis_is_that_of_scikit_learn_on_the_cells_of_train() -> None:
    basis = fit(Cells())
    cells = Cells().encode([Cells().prepare(number) for number in "1234"])["deep:map"].reshape(-1, 4)
    reference = PCA(2).fit(cells)
    assert list(basis.components) == ["deep:map"]
    np.testing.assert_allclose(np.abs(basis.components["deep:map"].T @ reference.components_.T), np.eye(2), atol=1e-5)
    np.testing.assert_allclose(basis.means["deep:map"], reference.mean_, rtol=1e-5)
    projected = basis.project("deep:map", cells.reshape(4, 2, 3, 4))
    np.testing.assert_allclose(np.abs(projected.reshape(-1, 2)), np.abs(reference.transform(cells)), atol=1e-4)


def test_the_order_of_items_and_what_is_not_of_train_make_no_difference() -> None:
    assert fit(Cells(), ITEMS[::-1]).digest == fit(Cells(), ITEMS[:4]).digest
    bad = replace(ITEMS[0], item_id="bad", source="bad", item_key=fingerprint.of_content("bad"))
    assert fit(Cells(), [*ITEMS, bad]).digest == fit(Cells()).digest


def test_a_file_holds_it_and_equal_ones_give_equal_bytes(tmp_path: Path) -> None:
    basis = fit(Cells())
    for name in ("a", "b"):
        basis.write(tmp_path / name)
    read = projection.read(tmp_path / "a")
    assert (read.digest, read.origin) == (basis.digest, basis.origin)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def npy() -> bytes:
    np.save(stream := io.BytesIO(), np.zeros(2))
    return stream.getvalue()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x93NUMPY", npy(), None])
def test_a_damaged_file_is_one_line(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / projection.FILE
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(IceboxError, match=r"projection\.npz: the principal components of a store can't be read"):
        projection.read(path)


@pytest.mark.parametrize(("k", "items"), [(5, ITEMS), (2, ITEMS[4:])])
def test_what_can_not_be_fitted_is_one_line(k: int, items: list[Any]) -> None:
    with pytest.raises(
        IceboxError, match=r"pca: expected (at most 4, the features of 'deep:map', found 5|pictures in train)"
    ):
        fit(Cells(), items, k)


def test_a_store_holds_projected_maps_and_grows_with_the_basis_it_began_with(tmp_path: Path) -> None:
    backbone = ProjectedBackbone(Cells(), fit(Cells()))
    contents = {"cache_root": tmp_path / "cache", "store": tmp_path / "store", "read": str}
    extract(ITEMS, backbone=backbone, **contents)
    store = FeatureStore(tmp_path / "store")
    assert (store.row_shape("deep:map"), store.row_shape("last")) == ((2, 3, 2), (4,))
    more = [*ITEMS, *(replace(row, item_id="new") for row in rows("6"))]
    assert extract(more, backbone=backbone, **contents).passed == 1
    other = ProjectedBackbone(Cells(), fit(Cells(), more))
    assert extract(more, backbone=other, **contents).passed == 6  # another basis is another fingerprint


def test_a_row_does_not_depend_on_how_many_pass_with_it() -> None:
    backbone = ProjectedBackbone(Cells(), fit(Cells()))
    prepared = [backbone.prepare(str(number)) for number in range(7)]
    together = backbone.encode(prepared)["deep:map"]
    alone = [backbone.encode([each])["deep:map"][0] for each in prepared]
    np.testing.assert_array_equal(together, np.stack(alone))
    begun = dict(backbone.begin(prepared))
    np.testing.assert_array_equal(next(iter(begun.values()))()["deep:map"], together)


def test_a_pulled_stores_basis_is_kept_before_its_folder_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    backbone = ProjectedBackbone(Cells(), fit(Cells()))
    folder = paths.store("cells")
    extract(ITEMS, backbone=backbone, cache_root=tmp_path / "elsewhere", store=folder, read=str)
    backbone.basis.write(folder / projection.FILE)
    keep_shards("cells", dataset="scenes")
    assert projection.read(paths.PROJECTIONS / f"{backbone.basis.origin}.npz").digest == backbone.basis.digest
