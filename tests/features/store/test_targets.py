from pathlib import Path

import h5py
import numpy as np
import pytest

from icebox.features.abc.targets import IGNORED, Boxes, Mask, Target
from icebox.features.errors import IceboxError
from icebox.features.store import targets

IDS = np.array(["a", "b"])


def masks() -> list[Target]:
    return [Mask(np.array([[0, 1, IGNORED]], np.int16)), Mask(np.full((4, 2), 300, np.int16))]


def boxes() -> list[Target]:
    some = Boxes(
        (20, 30), np.array([[1.5, 2, 30, 20], [0, 0, 4, 4]], np.float32), np.array([1, 0]), np.array([False, True])
    )
    none = Boxes((5, 6), np.empty((0, 4), np.float32), np.empty(0, np.int64), np.empty(0, bool))
    return [some, none]


def stored(folder: Path, content: list[Target], task: str) -> targets.StoredTargets:
    targets.write(folder, list(IDS), content, task=task, classes=["sky", "pole"])
    return targets.StoredTargets(folder, IDS, np.array([each.digest for each in content]))


def test_masks_come_back_as_they_were(tmp_path: Path) -> None:
    read = stored(tmp_path, masks(), "segmentation")
    assert [read[i].digest for i in range(2)] == [each.digest for each in masks()]
    np.testing.assert_array_equal(read[0].classes, [[0, 1, IGNORED]])
    assert read.classes == ("sky", "pole")
    assert read.sizes.tolist() == [[1, 3], [4, 2]]


def test_boxes_come_back_as_they_were_and_a_picture_without_any_too(tmp_path: Path) -> None:
    read = stored(tmp_path, boxes(), "detection")
    np.testing.assert_array_equal(read[0].corners, boxes()[0].corners)
    assert read[0].ignored.tolist() == [False, True]
    assert len(read[1]) == 0
    assert read[1].size == (5, 6)


def test_items_that_a_store_skipped_are_left_out(tmp_path: Path) -> None:
    stored(tmp_path, masks(), "segmentation")
    read = targets.StoredTargets(tmp_path, IDS[1:], np.array([masks()[1].digest]))
    assert read[0].size == (4, 2)


def test_targets_of_another_run_are_an_error_that_names_the_item(tmp_path: Path) -> None:
    stored(tmp_path, masks(), "segmentation")
    other = targets.StoredTargets(tmp_path, IDS, np.array([masks()[0].digest, "0" * 64]))
    with pytest.raises(IceboxError, match=r"targets\.h5: its target of item 'b' is not the manifest's"):
        other[0]


def test_damage_is_one_line_that_names_the_file(tmp_path: Path) -> None:
    read = stored(tmp_path, boxes(), "detection")
    with h5py.File(tmp_path / targets.FILE, "r+") as file:
        file["labels"][0] = 0
    with pytest.raises(IceboxError, match=r"targets\.h5: the target of item 'a' is not what was written"):
        read[0]
    (tmp_path / targets.FILE).write_bytes(b"no HDF5")
    with pytest.raises(IceboxError, match=r"targets\.h5: "):
        targets.StoredTargets(tmp_path, IDS, IDS).classes  # noqa: B018
    (tmp_path / targets.FILE).unlink()
    with pytest.raises(IceboxError, match=r"targets\.h5: No such file"):
        targets.StoredTargets(tmp_path, IDS, IDS).classes  # noqa: B018
