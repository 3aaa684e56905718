"""Metrics of masks: checked against cases by hand and against scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, jaccard_score

from icebox.features.abc.targets import IGNORED
from icebox.pipeline.comparison import bootstrap
from icebox.pipeline.comparison.test_predictions import constant_baseline
from icebox.pipeline.evaluation import metrics
from icebox.pipeline.evaluation.dense_tasks import segmentation
from icebox.pipeline.evaluation.dense_tasks.segmentation import SegmentationSample
from icebox.pipeline.evaluation.metrics import METRICS


def random_masks(n: int = 6, k: int = 4) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    truth = random.integers(-1, k, (n, 9, 11)).astype(np.int16)
    predicted = np.where(random.random(truth.shape) < 0.6, np.maximum(truth, 0), random.integers(0, k, truth.shape))
    return truth, predicted


def sample_of(truth: np.ndarray, predicted: np.ndarray, k: int) -> SegmentationSample:
    counts = [segmentation.confusion(a, b, k) for a, b in zip(truth, predicted, strict=True)]
    edges = [segmentation.boundary_score(a, b) for a, b in zip(truth, predicted, strict=True)]
    return SegmentationSample(np.stack(counts), np.array(edges))


def test_iou_and_accuracy_equal_scikit_learns_on_all_pixels_that_count() -> None:
    truth, predicted = random_masks()
    counted = truth != IGNORED
    scores = metrics.scores(sample_of(truth, predicted, 4))
    assert scores["n"] == 6
    assert scores["miou"] == pytest.approx(jaccard_score(truth[counted], predicted[counted], average="macro"))
    assert scores["pixel_accuracy"] == pytest.approx(accuracy_score(truth[counted], predicted[counted]))


def test_iou_by_hand_ignores_what_is_ignored_and_classes_that_nobody_has() -> None:
    truth = np.array([[0, 0, 1, 1, IGNORED]], np.int16)
    predicted = np.array([[0, 1, 1, 1, 0]])
    sample = SegmentationSample(segmentation.confusion(truth, predicted, 5)[None])
    assert metrics.scores(sample) == pytest.approx({"n": 1, "miou": (1 / 2 + 2 / 3) / 2, "pixel_accuracy": 3 / 4})
    assert sample.by_class(list("abcde"))[0] == {"class": "a", "n": 2, "iou": 0.5, "precision": 1.0, "recall": 0.5}
    assert sample.by_class(list("abcde"))[4] == {"class": "e", "n": 0, "iou": None, "precision": None, "recall": None}


@pytest.mark.parametrize(
    ("shift", "expected"),
    [(0, 1.0), (1, 1.0), (2, 0.0)],  # 0.0075 of the diagonal of 200 × 20 is 1.5 pixels
)
def test_a_boundary_counts_where_it_lies_within_the_tolerance(shift: int, expected: float) -> None:
    truth = np.zeros((20, 200), np.int16)
    truth[:, 100:] = 1
    predicted = np.roll(truth, 0) * 0
    predicted[:, 100 + shift + (shift == 2) :] = 1  # both sides of the line move
    assert segmentation.boundary_score(truth, predicted) == pytest.approx(expected)


def test_a_boundary_that_is_missed_or_invented_counts_nothing_and_none_at_all_is_right() -> None:
    plain, halves = np.zeros((8, 8), np.int16), np.repeat([[0, 1]], 8, axis=0).repeat(4, axis=1).astype(np.int16)
    assert segmentation.boundary_score(plain, plain) == 1.0
    assert segmentation.boundary_score(plain, halves) == 0.0
    assert segmentation.boundary_score(halves, plain) == 0.0
    ignored = halves.copy()
    ignored[:, 4:] = IGNORED
    assert segmentation.boundary_score(ignored, halves) == 1.0  # next to ignored pixels there is no boundary


@pytest.mark.parametrize("classes", [2, 5, 130])
def test_boundaries_are_near_where_some_pixel_of_the_same_class_is(classes: int) -> None:
    random = np.random.default_rng(classes)
    truth, predicted = (
        np.kron(random.integers(-1, classes, (5, 7)), np.ones((40, 40), int)).astype(np.int16) for _ in range(2)
    )
    predicted = np.roll(np.where(random.random(truth.shape) < 0.98, truth, predicted), 1, axis=1).clip(0)
    reach = segmentation.TOLERANCE * np.hypot(*truth.shape)
    counted = truth != IGNORED
    edges = [segmentation.boundary(mask, counted) for mask in (truth, np.where(counted, predicted, IGNORED))]
    scores = []
    for number in range(classes):
        points = [np.argwhere(edge & (mask == number)) for edge, mask in zip(edges, (truth, predicted), strict=True)]
        if not (len(points[0]) or len(points[1])):
            continue
        distances = np.hypot(*(points[0][:, None] - points[1][None]).transpose(2, 0, 1))
        recall, precision = ((distances <= reach).any(axis=axis).mean() if distances.size else 0.0 for axis in (1, 0))
        scores.append(2 * recall * precision / (recall + precision) if recall + precision else 0.0)
    assert segmentation.boundary_score(truth, predicted) == pytest.approx(np.mean(scores))


def test_under_weights_scores_are_those_of_the_pictures_as_often_as_they_were_drawn() -> None:
    sample = sample_of(*random_masks(), 4)
    drawn = np.array([0, 0, 3, 5, 5, 5])
    weights = np.bincount(drawn, minlength=6)[None].astype(np.float32)
    for metric in metrics.of_task("segmentation"):
        value = metric.function(sample.reweighted(weights))
        assert value == pytest.approx([float(metric.function(sample.part(drawn)))], rel=1e-6)


@pytest.mark.parametrize("name", ["miou", "pixel_accuracy"])
def test_heads_are_told_apart_by_exchanging_their_answers_picture_by_picture(name: str) -> None:
    truth, better = random_masks(24)
    worse = np.where(np.random.default_rng(1).random(truth.shape) < 0.3, 0, better)
    units, one, other = np.arange(24), sample_of(truth, better, 4), sample_of(truth, worse, 4)
    assert bootstrap.swap_test(METRICS[name], one, other, units, swaps=199) == 1 / 200
    assert bootstrap.swap_test(METRICS[name], one, one, units, swaps=199) == 1.0
    low, high = bootstrap.score_interval(METRICS[name], one, units)
    assert low < float(METRICS[name].function(one)) < high


def test_the_baseline_is_the_commonest_class_everywhere() -> None:
    truth = np.array([[[0, 1, 1, IGNORED]], [[2, 1, 0, 1]]], np.int16)
    sample = sample_of(truth, np.zeros_like(truth), 3)
    baseline = constant_baseline(sample, ["sky", "road", "car"], METRICS["miou"])
    assert baseline is not None
    assert baseline.prediction == "road"
    assert baseline.score == pytest.approx(4 / 7 / 3)


def test_a_picture_by_itself_has_its_own_score_and_one_of_ignored_pixels_is_right() -> None:
    truth = np.array([[[0, 0, 1, 1]], [[IGNORED] * 4]], np.int16)
    sample = sample_of(truth, np.array([[[0, 1, 1, 1]], [[0] * 4]]), 2)
    assert sample.item_scores == pytest.approx([(1 / 2 + 2 / 3) / 2, 1.0])
