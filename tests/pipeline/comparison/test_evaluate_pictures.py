"""A head of masks or boxes, scored on pictures that were no part of its dataset."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from icebox.features.errors import IceboxError
from icebox.features.images.decoding import to_image
from icebox.pipeline.comparison import evaluate_pictures, evaluation_text
from icebox.pipeline.inference.predict import OpenHead
from icebox.pipeline.inference.reading.new_items import Reading
from tests.dense import HEIGHT, WIDTH, Colors
from tests.pipeline.inference.test_pictures import Bright, LeftHalf, bundle


class Decoded(Colors):
    def prepare(self, content: Any) -> np.ndarray:
        return super().prepare(np.asarray(to_image(content).convert("RGB")))


def opened(task: str, **parameters: Any) -> OpenHead:
    made = bundle(Bright() if task == "segmentation" else LeftHalf(), task)
    made.dataset = ""
    parameters = {name: str(value) if isinstance(value, Path) else value for name, value in parameters.items()}
    source = "image_masks" if task == "segmentation" else "image_boxes"
    return OpenHead("s/h", ("s", "h"), made, Decoded(), Reading(modality="image", source=source, parameters=parameters))


def write_masks(folder: Path, *, size: tuple[int, int] = (HEIGHT, WIDTH), swapped: bool = False) -> None:
    """Three pictures whose left quarter is bright, with a mask that says so, but for a strip in the last one."""
    for i in range(3):
        picture, mask = np.full((HEIGHT, WIDTH, 3), 40, np.uint8), np.zeros(size, np.uint8)
        picture[:, : WIDTH // 4] = 250
        mask[:, : WIDTH // 4] = 1
        if i == 2:
            mask[:12] = 1
            mask[20:] = 255
        for kind, array in (("images", picture), ("masks", 1 - mask if swapped else mask)):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(folder / kind / f"{i}.png")


def test_masks_are_scored_in_the_pictures_own_pixels_with_intervals(tmp_path: Path) -> None:
    write_masks(tmp_path / "new")
    head = opened("segmentation", path=tmp_path / "old", classes=["dull", "bright"])
    evaluation = evaluate_pictures.evaluate(head, [str(tmp_path / "new")], out=tmp_path / "answers")
    strip, counted = 12 * WIDTH * 3 // 4, (3 * HEIGHT - 4) * WIDTH
    assert evaluation.n == 3
    assert evaluation.scores["pixel_accuracy"].value == pytest.approx(1 - strip / counted)
    bright = (3 * HEIGHT - 4) * WIDTH // 4
    dull = counted - bright - strip
    assert evaluation.scores["miou"].value == pytest.approx((bright / (bright + strip) + dull / (dull + strip)) / 2)
    low, high = evaluation.scores["miou"].low, evaluation.scores["miou"].high
    assert low is not None
    assert high is not None
    assert low < evaluation.scores["miou"].value <= high
    assert [row["class"] for row in evaluation.classes] == ["dull", "bright"]
    text = evaluation_text.as_text(evaluation)
    assert "s/h: 3 items" in text
    assert "iou" in text
    assert len(list((tmp_path / "answers/masks").iterdir())) == 3
    assert json.loads(evaluation.as_json())["n"] == 3


def test_classes_are_known_by_their_names_whatever_their_order(tmp_path: Path) -> None:
    write_masks(tmp_path / "new")
    write_masks(tmp_path / "other", swapped=True)
    same = opened("segmentation", path=tmp_path / "new", classes=["dull", "bright"])
    other = opened("segmentation", path=tmp_path / "other", classes=["bright", "dull"], ignore=[2])
    by_place = [
        evaluate_pictures.evaluate(head, [str(tmp_path / name)]).scores["miou"].value
        for head, name in ((same, "new"), (other, "other"))
    ]
    assert by_place[0] == by_place[1]


@pytest.mark.parametrize(
    ("parameters", "size", "message"),
    [
        ({"classes": ["dull", "shiny"]}, (HEIGHT, WIDTH), r"'shiny' is no class of the head; there are: dull, bright"),
        ({"classes": ["dull", "bright"]}, (HEIGHT, WIDTH + 1), r"24×3[23]"),
    ],
)
def test_targets_that_do_not_fit_are_one_line(tmp_path: Path, parameters: Any, size: Any, message: str) -> None:
    write_masks(tmp_path / "new", size=size)
    with pytest.raises(IceboxError, match=rf"^[^\n]*new/[^\n]*{message}[^\n]*$"):
        evaluate_pictures.evaluate(opened("segmentation", path=tmp_path, **parameters), [str(tmp_path / "new")])


def test_pictures_without_masks_are_one_line(tmp_path: Path) -> None:
    write_masks(tmp_path / "new")
    for mask in (tmp_path / "new/masks").iterdir():
        mask.unlink()
    with pytest.raises(IceboxError, match=r"^[^\n]*$"):
        evaluate_pictures.evaluate(
            opened("segmentation", path=tmp_path, classes=["dull", "bright"]), [str(tmp_path / "new")]
        )


def coco(folder: Path, *, name: str = "bright") -> Path:
    """Two pictures, whose boxes are their left halves; of one there is another, never found."""
    folder.mkdir()
    boxes = [(1, [0, 0, WIDTH / 2, HEIGHT]), (2, [0, 0, WIDTH / 2, HEIGHT]), (2, [20, 2, 6, 6])]
    for i in (1, 2):
        Image.fromarray(np.full((HEIGHT, WIDTH, 3), i, np.uint8)).save(folder / f"{i}.png")
    content = {
        "images": [{"id": i, "file_name": f"{i}.png", "width": WIDTH, "height": HEIGHT} for i in (1, 2)],
        "categories": [{"id": 7, "name": name}],
        "annotations": [
            {"id": n, "image_id": i, "category_id": 7, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
            for n, (i, box) in enumerate(boxes, 1)
        ],
    }
    path = folder / "boxes.json"
    path.write_text(json.dumps(content))
    return path


def test_boxes_are_scored_by_their_overlap(tmp_path: Path) -> None:
    pytest.importorskip("pycocotools")
    path = coco(tmp_path / "new")
    head = opened("detection", path=tmp_path / "old.json")
    evaluation = evaluate_pictures.evaluate(head, [str(path)], out=tmp_path / "answers")
    (row,) = evaluation.classes
    assert (row["class"], row["n"], row["recall"]) == ("bright", 3, pytest.approx(2 / 3))
    assert evaluation.scores["ap50"].value == pytest.approx(67 / 101)  # of 101 points of recall those up to 2/3
    assert evaluation.scores["ap50"].low is not None
    assert "bright" in evaluation_text.as_text(evaluation)
    assert json.loads((tmp_path / "answers/boxes.json").read_text())["annotations"]
    with pytest.raises(IceboxError, match=r"'bird' is no class of the head; there are: dull, bright"):
        evaluate_pictures.evaluate(head, [str(coco(tmp_path / "birds", name="bird"))])
