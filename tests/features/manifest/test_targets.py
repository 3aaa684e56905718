"""The manifest of masks and boxes: labels are digests, sizes are compared, doubts are told."""

import io
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from icebox.features.abc.dataset import DenseDataset, Item
from icebox.features.abc.targets import IGNORED, Boxes, Mask, Target
from icebox.features.errors import IceboxError
from icebox.features.manifest.build import build
from icebox.features.manifest.leakage import resolve_leakage
from icebox.features.manifest.split_sizes import split_remarks
from icebox.features.manifest.targets import TargetReview
from icebox.features.manifest.validation import Task

SPLITS = ("train", "train", "val", "test")


class Dense(DenseDataset):
    """Pictures by name with a target each; None is a target that can't be read."""

    names: tuple[str, ...] = ("sky", "pole", "tree")

    def __init__(self, task: Task, targets: dict[str, Target | None], pictures: dict[str, bytes | np.ndarray]) -> None:
        self.task, self.targets, self.pictures = task, targets, pictures  # type: ignore[misc]

    @property
    def classes(self) -> tuple[str, ...]:
        return self.names

    def items(self) -> Iterator[Item]:
        for split, name in zip(SPLITS, self.targets, strict=False):
            yield Item(item_id=name, source=name, label="", split=split)

    def read(self, source: str) -> bytes | np.ndarray:
        return self.pictures[source]

    def target(self, source: str) -> Target:
        target = self.targets[source]
        if target is None:
            raise IceboxError(f"masks/{source}.png: not found")
        return target

    def target_file(self, source: str) -> str:
        return f"masks/{source}.png"


def mask(*numbers: int) -> Mask:
    return Mask(np.array([numbers], np.int16))


def boxes(*labels: int, ignored: bool = False) -> Boxes:
    corners = np.tile(np.array([0, 0, 2, 1], np.float32), (len(labels), 1))
    return Boxes((1, 4), corners, np.array(labels, np.int64), np.full(len(labels), ignored))


def grey(value: int, width: int = 4) -> np.ndarray:
    return np.full((1, width), value, np.uint8)


def dense(task: Task, *targets: Target | None, pictures: list | None = None) -> Dense:
    names = "abcd"[: len(targets)]
    pictures = pictures or [grey(i) for i in range(len(targets))]
    return Dense(task, dict(zip(names, targets, strict=True)), dict(zip(names, pictures, strict=True)))


def reviewed(dataset: Dense, **settings):
    review = TargetReview(dataset)
    rows = build(dataset, val=0, test=0, seed=0, task=dataset.task, targets=review, **settings)
    return rows, review


MASKS = (mask(0, 1, 1, IGNORED), mask(0, 0, 0, 0), mask(IGNORED, -1, -1, -1), mask(2, 2, 1, 0))


def test_the_label_of_a_picture_is_its_targets_digest_and_doubts_are_told():
    dataset = dense("segmentation", *MASKS)
    rows, review = reviewed(dataset)
    assert [row.label for row in rows] == [target.digest for target in MASKS]
    sentences = [remark.sentence() for remark in (*dataset.account.remarks(), *review.remarks(rows))]
    assert sentences == [
        "masks all of whose pixels are of one class: 1, b",
        "masks all of whose pixels are ignored: 1, c",
        "classes in no picture of train, which no head can learn: 1, tree",
        "classes in fewer than 5 pictures of train: 2, sky (2), pole (1)",
        "classes in fewer than 5 pictures of val: 2, sky (0), pole (0)",
        "classes in fewer than 5 pictures of test: 2, sky (1), pole (1)",
    ]
    assert [remark.sentence() for remark in split_remarks(rows, "segmentation")] == [
        "items in val, few to compare heads by: 1",
        "items in test, few to compare heads by: 1",
    ]


def test_boxes_that_are_ignored_are_no_pictures_of_their_class():
    dataset = dense("detection", boxes(0), boxes(), boxes(1, ignored=True), boxes(2, 2))
    rows, review = reviewed(dataset)
    assert [remark.sentence() for remark in dataset.account.remarks()] == [
        "pictures without boxes, all of them background: 2, b, c"
    ]
    assert review.remarks(rows)[0].examples == ["pole", "tree"]


def test_a_target_of_another_size_is_an_error_that_names_both_files():
    dataset = dense("segmentation", *MASKS, pictures=[grey(0), grey(1, 5), grey(2), grey(3)])
    expected = "item 'b': masks/b.png: expected mask for the 5×1 pixels of the picture b, found mask for 4×1"
    with pytest.raises(IceboxError, match=expected) as error:
        reviewed(dataset)
    assert error.value.hint == "skip unreadable items"


def test_a_picture_that_exif_turns_has_the_size_that_is_shown():
    exif = Image.Exif()
    exif[0x0112] = 6
    stream = io.BytesIO()
    Image.new("L", (1, 4)).save(stream, "JPEG", exif=exif)
    reviewed(dense("segmentation", *MASKS[:2], pictures=[stream.getvalue(), grey(1)]))
    upright = dense("segmentation", Mask(np.array([[0], [1], [1], [0]], np.int16)), pictures=[stream.getvalue()])
    with pytest.raises(IceboxError, match="the picture's EXIF turns it"):
        reviewed(upright)


@pytest.mark.parametrize("bad", [None, mask(0, 1)])
def test_items_with_an_unusable_target_are_left_out_on_request_and_told(bad):
    dataset = dense("segmentation", MASKS[0], bad, MASKS[3])
    rows, _ = reviewed(dataset, skip_unreadable=True)
    assert [row.item_id for row in rows] == ["a", "c"]
    [remark] = [each for each in dataset.account.remarks() if each.kind == "unusable_targets"]
    assert remark.examples[0].startswith("b: masks/b.png: ")


def test_a_picture_that_is_none_is_left_to_the_extraction():
    rows, _ = reviewed(dense("segmentation", *MASKS[:2], pictures=[b"no picture", grey(1)]))
    assert len(rows) == 2


@pytest.mark.parametrize(
    ("task", "targets", "message"),
    [
        ("segmentation", [mask(1, 1), mask(IGNORED, 1)], "two classes at least, found 'pole' in all masks"),
        ("segmentation", [mask(IGNORED, IGNORED)], "two classes at least, found none"),
        ("detection", [boxes(), boxes(1, ignored=True)], "expected boxes, found none"),
    ],
)
def test_nothing_to_learn_is_an_error(task, targets, message):
    pictures = [grey(i, target.size[1]) for i, target in enumerate(targets)]
    with pytest.raises(IceboxError, match=message):
        reviewed(dense(task, *targets, pictures=pictures))


def test_equal_pictures_with_other_masks_are_a_conflict_and_no_hash_is_shown():
    dataset = dense("segmentation", *MASKS, pictures=[grey(0), grey(0), grey(1), grey(0)])
    rows, _ = reviewed(dataset)
    _, findings = resolve_leakage(rows, leakage="allow", conflicts="keep", task="segmentation")
    assert [finding.sentence() for finding in findings] == [
        "contents on two sides of the split: 1 (3 items), a (train) = b (train) = d (test)",
        "contents with conflicting masks: 1 (3 items), a (train) = b (train) = d (test)",
    ]
    assert {item["label"] for finding in findings for item in finding.as_json()["first"][0]} == {""}


@pytest.mark.parametrize("name", ["", " ", "x" * 5000, "a\0b", "\ud800"])
def test_names_of_classes_that_no_store_can_hold_are_one_line(name):
    dataset = dense("segmentation", *MASKS)
    dataset.names = ("sky", name, "tree")
    with pytest.raises(IceboxError, match="expected names of classes of 1 to 4,096 bytes"):
        reviewed(dataset)
