"""Masks from scores of cells, at the pictures' own size."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from icebox.features.images.regions import Region
from icebox.pipeline.data import dense
from icebox.pipeline.dense import base, segmenting
from tests.dense import store


class Bright:
    """A head that knows the bright cells from the others."""

    classes_ = np.array([0, 1])

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        return np.stack([1 - X[:, 0], X[:, 0]], axis=1)

    def predict(self, X: np.ndarray) -> np.ndarray:
        return self.predict_proba(X).argmax(axis=1)


def test_scores_are_interpolated_before_the_largest_is_taken() -> None:
    scores = np.random.default_rng(0).random((3, 4, 5), np.float32)
    mask = segmenting.stitched([(Region(0, 0, 20, 30), scores)], (30, 20))
    images = torch.from_numpy(scores).permute(2, 0, 1)[None]
    fine = torch.nn.functional.interpolate(images, size=(30, 20), mode="bilinear", align_corners=False)
    np.testing.assert_array_equal(mask, fine[0].argmax(0).numpy())


def test_a_mirrored_view_is_turned_back() -> None:
    scores = np.random.default_rng(0).random((3, 4, 2), np.float32)
    plain = segmenting.stitched([(Region(0, 0, 8, 6), scores)], (6, 8))
    mirrored = segmenting.stitched([(Region(0, 0, 8, 6, mirrored=True), scores[:, ::-1])], (6, 8))
    np.testing.assert_array_equal(plain, mirrored)


def test_tiles_are_averaged_where_they_overlap() -> None:
    left = np.broadcast_to(np.float32([0.6, 0.4]), (2, 2, 2))
    right = np.broadcast_to(np.float32([0.1, 0.9]), (2, 2, 2))
    mask = segmenting.stitched([(Region(0, 0, 4, 2), left), (Region(2, 0, 6, 2), right)], (2, 6))
    assert mask.tolist() == [[0, 0, 1, 1, 1, 1]] * 2


def test_classes_that_a_head_never_saw_are_never_predicted(tmp_path: Path) -> None:
    data = dense.load(store(tmp_path))
    scores = base.cell_scores(Bright(), data.maps.read(np.array([0, 1]), "identity"), 3)
    assert scores.shape == (2, 6, 8, 3)
    assert (scores[..., 2] == 0).all()
    np.testing.assert_allclose(scores.sum(axis=-1), 1, rtol=1e-6)


def test_scores_that_are_no_numbers_are_an_error(tmp_path: Path) -> None:
    class Broken(Bright):
        def predict_proba(self, X: np.ndarray) -> np.ndarray:
            return np.full((len(X), 2), np.nan)

    data = dense.load(store(tmp_path))
    with pytest.raises(ValueError, match="contain NaN"):
        segmenting.score(Broken(), data, np.array([0]))


@pytest.mark.parametrize("classes", [3, 300])
def test_masks_come_back_from_their_pngs(classes: int) -> None:
    mask = np.random.default_rng(0).integers(0, classes, (5, 7)).astype(np.int16)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(segmenting.png(mask)))), mask)
