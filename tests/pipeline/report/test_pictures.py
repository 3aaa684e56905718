"""Layers over the worst pictures: masks as transparent images, boxes as rectangles."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from icebox.features.abc.targets import IGNORED
from icebox.pipeline.data import dense
from icebox.pipeline.dense import matching, segmenting
from icebox.pipeline.dense.matching import Detections
from icebox.pipeline.evaluation.dense_tasks.dense import DensePredictions
from icebox.pipeline.evaluation.dense_tasks.segmentation import SegmentationSample, confusion
from icebox.pipeline.project import paths
from icebox.pipeline.report import pictures
from icebox.pipeline.report.thumbnails import Thumbnail
from tests import dense as masks
from tests import dense_boxes as boxes


class Grey:
    """A thumbnail for every item."""

    def get(self, item_id: str, *, side_max: int) -> Thumbnail:
        return Thumbnail("data:image/png;base64,", masks.WIDTH, masks.HEIGHT)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    paths.store("s").parent.mkdir(parents=True)
    return tmp_path


def pixels(url: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGBA"))


def test_masks_are_layers_with_ignored_pixels_clear_and_wrong_ones_in_the_difference(here: Path) -> None:
    masks.store(here).folder.rename(paths.store("s"))
    data = dense.load(masks.FeatureStore(paths.store("s")))
    item = int(data.tests["test"][0])
    truth = data.mask(item)
    wrong = np.where(truth == 1, 2, truth).clip(0)
    predictions = DensePredictions(
        data.classes,
        [str(data.item_ids[item])],
        SegmentationSample(confusion(truth, wrong, 3)[None]),
        {"mask": [segmenting.png(wrong.astype(np.int16))]},
    )
    details = pictures.collect(predictions, "s", Grey())  # type: ignore[arg-type]
    (shown,) = details.pictures
    assert set(shown.images) == {"prediction", "truth", "difference"}
    assert (pixels(shown.images["truth"])[..., 3] == 0).sum() == (truth == IGNORED).sum()
    difference = pixels(shown.images["difference"])[..., 3] > 0
    np.testing.assert_array_equal(difference, truth == 1)
    assert [each["class"] for each in details.by_class] == masks.CLASSES


def test_boxes_are_rectangles_and_the_sure_ones_alone(here: Path) -> None:
    boxes.store(here).folder.rename(paths.store("s"))
    data = dense.load(boxes.FeatureStore(paths.store("s")))
    item = int(data.tests["test"][0])
    truth = data.boxes(item)
    corners = np.concatenate([truth.corners[:1], [[0, 0, 3, 3]], [[0, 0, 2, 2]]]).astype(np.float32)
    answered = Detections(corners, np.zeros(3, np.int64), np.array([0.9, 0.6, 0.1], np.float32))
    found, matches, counts = matching.match(truth, answered, 2)
    predictions = DensePredictions(
        ["<b>", "dark"],
        [str(data.item_ids[item])],
        matching.sample_of([(found, matches, counts)]),
        {"corners": [found.corners.ravel()]},
    )
    (shown,) = pictures.collect(predictions, "s", Grey()).pictures  # type: ignore[arg-type]
    assert shown.drawings["prediction"].count("<rect") == 2  # the third is less than half as sure
    assert "&lt;b&gt; 0.90" in shown.drawings["prediction"]
    assert shown.drawings["truth"].count("<rect") == len(truth)
    assert shown.drawings["difference"].count("#2a9d3a") == 1


def test_without_the_store_only_the_prediction_is_shown(here: Path) -> None:
    predictions = DensePredictions(
        ["a", "b"], ["x"], SegmentationSample(np.array([[[1, 1], [0, 0]]])), {"mask": [segmenting.png(np.eye(4))]}
    )
    (shown,) = pictures.collect(predictions, "gone", Grey()).pictures  # type: ignore[arg-type]
    assert set(shown.images) == {"prediction"}
