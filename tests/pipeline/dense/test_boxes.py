"""Boxes as targets on maps, and maps as boxes."""

import numpy as np
import pytest

from icebox.features.abc.targets import Boxes
from icebox.features.images.regions import Region
from icebox.pipeline.data import dense
from icebox.pipeline.dense import box_targets, detecting, projection
from icebox.pipeline.dense.matching import Detections
from tests.dense_boxes import store


def boxes(corners: list[list[float]], ignored: list[bool]) -> Boxes:
    return Boxes((20, 40), np.array(corners, np.float32), np.arange(len(corners)), np.array(ignored))


def test_boxes_follow_the_part_of_the_picture_that_a_view_shows() -> None:
    some = boxes([[0, 0, 20, 10], [30, 10, 40, 20], [2, 2, 4, 4]], [False, False, True])
    corners, labels, ignored = box_targets.within(some, Region(0, 0, 40, 20, mirrored=True))
    np.testing.assert_allclose(corners, [[0.5, 0, 1, 0.5], [0, 0.5, 0.25, 1], [0.9, 0.1, 0.95, 0.2]], atol=1e-6)
    assert (labels.tolist(), ignored.tolist()) == ([0, 1, 2], [False, False, True])
    corners, labels, ignored = box_targets.within(some, Region(20, 0, 40, 20))  # the first one's centre is not shown
    np.testing.assert_allclose(corners, [[0.5, 0.5, 1, 1]])
    assert (labels.tolist(), ignored.tolist()) == ([1], [False])
    crowd = boxes([[0, 0, 26, 20]], [True])  # its centre is not shown, a part of it is
    assert box_targets.within(crowd, Region(20, 0, 40, 20))[0].tolist() == pytest.approx(np.array([[0, 0, 0.3, 1]]))


@pytest.mark.parametrize("mirrored", [False, True])
def test_what_a_perfect_network_would_say_is_the_boxes_again(mirrored: bool) -> None:
    some = boxes([[0, 0, 20, 10], [24, 8, 40, 20]], [False, False])
    region = Region(0, 0, 40, 20, mirrored=mirrored)
    h, w = 10, 20
    learnt = box_targets.targets(*box_targets.within(some, region), 2, (h, w))
    y, x = (np.arange(h) + 0.5)[:, None], np.arange(w) + 0.5
    left, upper, right, lower = learnt.corners
    sides = np.stack([(x - left) / w, (y - upper) / h, (right - x) / w, (lower - y) / h], axis=-1)
    found = detecting.peaks(learnt.heat.transpose(1, 2, 0), sides, region, most=2)
    order = np.argsort(found.labels)
    np.testing.assert_allclose(found.corners[order], some.corners, atol=1e-4)
    assert found.scores.tolist() == [1, 1]


def test_of_boxes_that_share_a_cell_the_smaller_is_learnt() -> None:
    corners = np.array([[0, 0, 1, 1], [0.4, 0.4, 0.6, 0.6]], np.float32)
    learnt = box_targets.targets(corners, np.array([0, 0]), np.zeros(2, bool), 1, (10, 10))
    np.testing.assert_allclose(learnt.corners[:, 5, 5], [4, 4, 6, 6], atol=1e-5)


@pytest.mark.parametrize("ignored", [[0, 0, 0.5, 1], [0.02, 0.52, 0.04, 0.54]])  # the second smaller than a cell
def test_an_ignored_box_is_neither_learnt_nor_taken_for_background(ignored: list[float]) -> None:
    import torch

    from icebox.pipeline.dense.networks import focal_loss

    corners = np.array([[0.6, 0.6, 0.8, 0.8], ignored], np.float32)
    learnt = box_targets.targets(corners, np.array([0, 0]), np.array([False, True]), 2, (10, 10))
    assert (learnt.heat == 1).sum() == 1  # one object
    assert not learnt.weights[:, :5].any()
    loss = [focal_loss(torch.full((1, 2, 10, 10), -5.0), torch.from_numpy(learnt.heat)[None])]
    for number in (0, 1):  # a peak inside it: of its class it costs nothing, of another it does
        logits = torch.full((1, 2, 10, 10), -5.0)
        logits[0, number, 5, 0] = 5
        loss.append(focal_loss(logits, torch.from_numpy(learnt.heat)[None]))
    assert loss[1] <= loss[0] < loss[2] - 1


def test_an_object_inside_an_ignored_one_is_learnt() -> None:
    corners = np.array([[0.3, 0.3, 0.7, 0.7], [0, 0, 1, 1]], np.float32)
    learnt = box_targets.targets(corners, np.array([0, 0]), np.array([False, True]), 1, (10, 10))
    assert np.argwhere(learnt.heat == 1).tolist() == [[0, 5, 5]]
    assert learnt.weights[5, 5] > 0


def test_boxes_of_one_class_that_overlap_leave_the_surest() -> None:
    corners = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [1, 0, 11, 10], [30, 30, 40, 40]], np.float32)
    some = Detections(corners, np.array([0, 0, 1, 0]), np.array([0.9, 0.8, 0.7, 0.6], np.float32))
    assert box_targets.suppressed(some, 0.5).scores.tolist() == pytest.approx([0.9, 0.7, 0.6])
    assert len(box_targets.suppressed(some, 0.95)) == 4


def test_our_suppression_is_torchvisions(monkeypatch: pytest.MonkeyPatch) -> None:
    from icebox.features import compat

    if compat.allow_mismatched_torchvision() is not None:
        pytest.skip("torchvision's operator does not work beside this torch")
    import torch
    from torchvision.ops import batched_nms

    random = np.random.default_rng(0)
    corner = random.uniform(0, 50, (200, 2))
    corners = np.concatenate([corner, corner + random.uniform(5, 40, (200, 2))], axis=1).astype(np.float32)
    some = Detections(corners, random.integers(0, 3, 200), random.random(200).astype(np.float32))
    theirs = batched_nms(*(torch.from_numpy(each) for each in (some.corners, some.scores, some.labels)), 0.4)
    assert box_targets.greedy_suppression(some, 0.4).tolist() == theirs.tolist()


def test_boxes_of_tiles_are_put_together_and_cut_at_the_border() -> None:
    one = Detections(np.array([[-5, 2, 20, 12]], np.float32), np.array([0]), np.array([0.5], np.float32))
    other = Detections(np.array([[0, 2, 21, 12], [39, 0, 60, 9]], np.float32), np.array([0, 1]), np.float32([0.8, 0.1]))
    found = detecting.together([one, other], (20, 40), overlap=0.5, most=5)
    assert found.corners.tolist() == [[0, 2, 21, 12], [39, 0, 40, 9]]


def test_a_projection_to_as_many_components_loses_nothing_and_pictures_are_kept(tmp_path) -> None:
    data = dense.load(store(tmp_path))
    pictures = dense.Pictures(data, data.train)
    components = projection.fit(pictures, 100)
    assert components.matrix.shape == (6, 6)
    maps = data.maps.read(data.train[:2], "identity")
    flat = components(maps).reshape(-1, 6)
    assert np.linalg.matrix_rank(flat) == np.linalg.matrix_rank(maps.reshape(-1, 6) - maps.reshape(-1, 6).mean(0))
    kept = projection.ProjectedPictures(pictures, components, budget_bytes=1000)
    first, second = (list(kept.batches(4, None)) for _ in range(2))
    assert [len(named) for named, _ in first] == [4, 2]
    for (_, mine), (_, theirs) in zip(first, second, strict=True):
        np.testing.assert_array_equal(mine, theirs)
