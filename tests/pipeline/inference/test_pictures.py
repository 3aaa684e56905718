"""Masks and boxes of new pictures, as files."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from icebox.features.errors import IceboxError
from icebox.pipeline.inference import pictures
from icebox.pipeline.inference.reading.new_items import NewItem
from tests.dense import Colors, scene


class Bright:
    """A head of cells: bright ones are of class 1. As a head of maps it finds one box, the left half."""

    classes_ = np.array([0, 1])
    overlap, boxes_max = 0.5, 5

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        bright = (X[:, 0] > 0.7).astype(float)
        return np.stack([1 - bright, bright], axis=1)

    def predict(self, X: np.ndarray) -> np.ndarray:
        return self.predict_proba(X).argmax(axis=1)


class LeftHalf(Bright):
    def predict_maps(self, maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        b, h, w, _ = maps.shape
        heat = np.zeros((b, h, w, 2), np.float32)
        heat[:, h // 2, w // 4, 1] = 0.9
        centre = (w // 4 + 0.5) / w, (h // 2 + 0.5) / h
        sides = np.array([centre[0], centre[1], 0.5 - centre[0], 1 - centre[1]], np.float32)
        return heat, np.broadcast_to(sides, (b, h, w, 4))


def bundle(head: Any, task: str) -> Any:
    return SimpleNamespace(
        head=head, task=task, classes=["dull", "bright"], view="identity", stored="float32",
        outputs=["fine", "coarse"], head_outputs=["fine"],
    )  # fmt: skip


def items(*names: str) -> list[NewItem]:
    return [NewItem(name, name, lambda number=i: scene(number)[0]) for i, name in enumerate(names)]


def refuse(item: NewItem, error: Exception) -> None:
    raise error


def test_masks_are_written_in_the_pictures_own_size_under_names_of_their_own(tmp_path: Path) -> None:
    made = bundle(Bright(), "segmentation")
    count = pictures.predict(made, Colors(), iter(items("a/x.jpg", "b/x.jpg", "../../y.jpg")), refuse, tmp_path / "out")
    assert count == 3
    assert sorted(path.name for path in (tmp_path / "out/masks").iterdir()) == ["x-2.png", "x.png", "y.png"]
    mask = np.asarray(Image.open(tmp_path / "out/masks/x.png"))
    assert mask.shape == scene(0)[1].shape
    assert (mask[scene(0)[1] == 1] == 1).mean() > 0.8
    assert (tmp_path / "out/pictures.csv").read_text().splitlines()[2] == "b/x.jpg,masks/x-2.png,overlays/x-2.png"


def test_boxes_are_cocos_json_in_pixels(tmp_path: Path) -> None:
    pictures.predict(bundle(LeftHalf(), "detection"), Colors(), iter(items("x.jpg")), refuse, tmp_path / "out")
    coco = json.loads((tmp_path / "out/boxes.json").read_text())
    assert coco["images"] == [{"id": 1, "file_name": "x.jpg", "width": 32, "height": 24}]
    assert [each["name"] for each in coco["categories"]] == ["dull", "bright"]
    (box,) = coco["annotations"]
    assert box["bbox"] == pytest.approx([0, 0, 16, 24], abs=0.01)
    assert (box["category_id"], box["score"]) == (2, 0.9)
    assert (tmp_path / "out/overlays/x.png").exists()


def test_a_folder_that_holds_anything_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("")
    with pytest.raises(IceboxError, match="expected a new or an empty folder"):
        pictures.predict(bundle(Bright(), "segmentation"), Colors(), iter([]), refuse, tmp_path)
    assert pictures.scored_views("tile-1x2.1") == ["tile-1x2.1", "tile-1x2.2"]


def test_a_picture_that_can_not_be_read_is_told_and_left_out(tmp_path: Path) -> None:
    def broken() -> Any:
        raise IceboxError("cut short")

    told: list[str] = []
    queue = [NewItem("bad.jpg", "bad.jpg", broken), *items("x.jpg")]
    made = bundle(Bright(), "segmentation")
    count = pictures.predict(
        made, Colors(), iter(queue), lambda item, error: told.append(item.item_id), tmp_path / "out"
    )
    assert (count, told) == (1, ["bad.jpg"])
