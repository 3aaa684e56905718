"""Boxes of a head that has learned nothing."""

from pathlib import Path

import numpy as np
import pytest

from icebox.features.abc.targets import Boxes
from icebox.pipeline.data import dense
from icebox.pipeline.dense import detecting
from icebox.pipeline.dense.mean_box import MeanBox
from tests import dense_boxes
from tests.dense_boxes import store


def test_they_have_the_mean_size_of_the_commonest_class(tmp_path: Path) -> None:
    data = dense.load(store(tmp_path))
    head = MeanBox().fit_maps(dense.Pictures(data, data.train), None, np.ones(2))
    for _, found in detecting.predict(head, data, data.tests["test"]):
        assert found.labels[0] == 0  # every picture has a bright blob, not all a dark one
        sides = found.corners[:, 2:] - found.corners[:, :2]
        assert sides.max(axis=0).tolist() == pytest.approx([8, 8], abs=1e-4)  # those at the border are cut
        assert len(found) > 1
    assert detecting.score(head, data, data.tests["test"]).scores["ap"] < 0.3


def test_without_a_box_there_is_none_to_average(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = dense_boxes.scene

    def empty(number: int) -> tuple[np.ndarray, Boxes]:
        picture, boxes = scene(number)
        return picture, Boxes(boxes.size, boxes.corners[:0], boxes.labels[:0], boxes.ignored[:0])

    monkeypatch.setattr(dense_boxes, "scene", empty)
    data = dense.load(store(tmp_path))
    with pytest.raises(ValueError, match="no picture of train has a box"):
        MeanBox().fit_maps(dense.Pictures(data, data.train), None, np.ones(2))
