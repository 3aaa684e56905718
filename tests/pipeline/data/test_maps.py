from pathlib import Path

import numpy as np
import pytest
import torch

from icebox.features.errors import IceboxError
from icebox.pipeline.data import maps
from tests import dense
from tests.tiny import extract_doubled


@pytest.mark.parametrize("size", [(6, 8), (3, 4), (1, 1), (5, 17), (12, 8), (2, 30)])
def test_maps_are_resized_as_torch_does_it(size: tuple[int, int]) -> None:
    coarse = np.random.default_rng(0).random((2, 3, 4, 5), np.float32)
    images = torch.from_numpy(coarse).permute(0, 3, 1, 2)
    expected = torch.nn.functional.interpolate(images, size=size, mode="bilinear", align_corners=False)
    np.testing.assert_allclose(maps.resize(coarse, size), expected.permute(0, 2, 3, 1).numpy(), atol=1e-6)


def test_outputs_of_several_sizes_lie_side_by_side_at_the_finest(tmp_path: Path) -> None:
    store = dense.store(tmp_path)
    stored = maps.select(store)
    assert (stored.size, stored.depth) == ((6, 8), 6)
    assert stored.column_ranges == {"fine": [(0, 3)], "coarse": [(3, 6)]}
    items = np.array([3, 1])
    both = stored.read(items, "identity")
    np.testing.assert_array_equal(both[..., :3], store.rows(items, "fine"))
    np.testing.assert_array_equal(both[..., 3:], maps.resize(store.rows(items, "coarse"), (6, 8)))
    assert maps.select(store, ["coarse"]).read(items, "identity").shape == (2, 3, 4, 3)


def test_pieces_are_all_items_in_their_order_and_pages_are_released(tmp_path: Path, monkeypatch) -> None:
    store = dense.store(tmp_path)
    monkeypatch.setattr(maps, "PIECE_BYTES", 3 * 6 * 8 * 6 * 4)
    monkeypatch.setattr(maps, "RELEASE_BYTES", 1)
    released = []
    monkeypatch.setattr(store, "release", lambda: released.append(True))
    stored, items = maps.select(store), np.arange(8)
    pieces = list(stored.pieces(items, "identity"))
    assert [piece.tolist() for piece, _ in pieces] == [[0, 1, 2], [3, 4, 5], [6, 7]]
    np.testing.assert_array_equal(np.concatenate([each for _, each in pieces]), stored.read(items, "identity"))
    assert len(released) == 4


def test_a_store_without_maps_and_an_output_that_is_none_are_one_line(tmp_path: Path) -> None:
    extract_doubled("0123", store=tmp_path / "s", cache=tmp_path / "cache")
    store = maps.FeatureStore(tmp_path / "s")
    with pytest.raises(IceboxError, match=r"expected an output that is a map of the picture, found last, grid; store"):
        maps.select(store)
    with pytest.raises(IceboxError, match=r"output 'last' is one vector of a whole picture"):
        maps.select(store, ["last"])


def test_the_centre_of_a_cell_lies_in_a_pixel() -> None:
    assert maps.cell_centers(8, 4).tolist() == [1, 3, 5, 7]
    assert maps.cell_centers(3, 1).tolist() == [1]
    assert maps.cell_centers(2, 4).tolist() == [0, 0, 1, 1]
