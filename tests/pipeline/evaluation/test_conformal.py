"""Sets of classes that hold the true one as often as was asked for, by simulation."""

import numpy as np
import pytest
from scipy.special import softmax

from icebox.features.errors import IceboxError
from icebox.pipeline.evaluation import conformal
from icebox.pipeline.evaluation.prediction_file import StoredPredictions, StoredSplit

NAMES = ["cat", "dog", "fox", "owl"]
SHARES = (0.5, 0.25, 0.15, 0.1)
CHOSEN_ON_VAL = {"chosen_on": "val", "refit": "train", "calibrate": "none"}


def draw(random: np.random.Generator, n: int, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Labels (n,) and a head's scores (n, k): far from calibrated; of few values; sure of nearly all; margins."""
    labels = random.choice(4, n, p=SHARES)
    signal = {"sure": 9.0, "weak": 0.7}.get(kind, 2.0)
    levels = random.normal(size=(n, 4)) + signal * np.where(labels == 3, 0.4, 1)[:, None] * np.eye(4)[labels]
    if kind == "margins":
        return labels, levels
    scores = softmax(3 * levels, axis=1)
    return labels, np.round(scores * 4) / 4 if kind == "votes" else scores


def predictions(labels: np.ndarray, scores: np.ndarray, *, kind: str = "", split: str = "val") -> StoredPredictions:
    ids = [str(i) for i in range(len(labels))]
    stored = StoredSplit(ids, labels, scores.argmax(axis=1), scores.astype(np.float32))
    return StoredPredictions(NAMES, kind != "margins", {split: stored})


@pytest.mark.parametrize(
    ("kind", "coverage"),
    [(kind, 0.9) for kind in ("skewed", "votes", "sure", "weak", "margins")] + [("skewed", 0.8), ("votes", 0.95)],
)
@pytest.mark.parametrize("by_class", [False, True])
def test_sets_hold_the_truth_as_often_as_asked(kind: str, coverage: float, by_class: bool) -> None:
    random, held = np.random.default_rng(1), []
    for _ in range(40):
        val, (labels, scores) = draw(random, 800, kind), draw(random, 800, kind)
        sets = conformal.calibrate(predictions(*val, kind=kind), CHOSEN_ON_VAL, coverage=coverage, by_class=by_class)
        inside = sets.sets(scores, random.random(800))
        held.append(np.stack([inside[np.arange(800), labels], labels]))
    hits, of = np.concatenate(held, axis=1)
    assert hits.mean() == pytest.approx(coverage, abs=0.01)
    if by_class:
        assert [hits[of == number].mean() for number in range(4)] == pytest.approx([coverage] * 4, abs=0.02)


def test_one_threshold_for_all_misses_the_class_that_is_hard() -> None:
    random = np.random.default_rng(2)
    val, (labels, scores) = draw(random, 5000, "skewed"), draw(random, 5000, "skewed")
    stored = predictions(*val)
    covered = {}
    for by_class in (False, True):
        sets = conformal.calibrate(stored, CHOSEN_ON_VAL, coverage=0.9, by_class=by_class)
        inside = sets.sets(scores, random.random(5000))
        covered[by_class] = min(inside[labels == number, number].mean() for number in range(4))
    assert covered[False] < 0.88 < covered[True]


def test_few_items_of_val_are_told_and_hold_the_truth_on_average() -> None:
    random, hits = np.random.default_rng(3), []
    for _ in range(3000):
        (labels, scores), (label, score) = draw(random, 5, "skewed"), draw(random, 20, "skewed")
        sets = conformal.calibrate(predictions(labels, scores), CHOSEN_ON_VAL, coverage=0.9, by_class=False)
        hits.append(sets.sets(score, random.random(20))[np.arange(20), label].mean())
    assert np.mean(hits) == pytest.approx(0.9, abs=0.01)
    assert "all (5)" in next(sets.doubts())


def test_a_class_that_val_lacks_is_in_every_set_and_told() -> None:
    labels, scores = draw(np.random.default_rng(4), 300, "skewed")
    kept = labels != 2
    stored = predictions(labels[kept], scores[kept])
    sets = conformal.calibrate(stored, CHOSEN_ON_VAL, coverage=0.9, by_class=True)
    assert sets.sets(scores, conformal.ties_of(map(str, range(300))))[:, 2].all()
    none, few = sets.doubts()
    assert none == "val has no item of fox: such a class is in every set"
    assert "owl (" in few
    assert "cat" not in few
    assert not list(conformal.calibrate(stored, CHOSEN_ON_VAL, coverage=0.9, by_class=False).doubts())


def test_ties_are_the_same_each_time_and_even() -> None:
    ties = conformal.ties_of(f"item {i}" for i in range(2000))
    assert (ties == conformal.ties_of(f"item {i}" for i in range(2000))).all()
    assert np.quantile(ties, (0.1, 0.5, 0.9)) == pytest.approx([0.1, 0.5, 0.9], abs=0.03)


@pytest.mark.parametrize(
    ("details", "split", "coverage", "sentence"),
    [
        ({"refit": "train+val"}, "val", 0.9, "which this head was fitted on"),
        ({"calibrate": "isotonic"}, "val", 0.9, "which calibrate: isotonic has used up"),
        ({"chosen_on": "5 folds"}, "test", 0.9, "no predictions for it"),
        ({}, "val", 90.0, "expected a share between 0 and 1, found 90"),
        ({}, "val", float("nan"), "expected a share between 0 and 1"),
    ],
)
def test_sets_that_can_not_be_had_are_one_line(details, split, coverage, sentence) -> None:
    stored = predictions(*draw(np.random.default_rng(0), 50, "skewed"), split=split)
    with pytest.raises(IceboxError, match=sentence) as caught:
        conformal.calibrate(stored, CHOSEN_ON_VAL | details, coverage=coverage, by_class=False)
    assert "\n" not in str(caught.value)


def test_a_regression_has_no_sets() -> None:
    stored = StoredPredictions([], False, {})
    with pytest.raises(IceboxError, match="which only classification has"):
        conformal.calibrate(stored, CHOSEN_ON_VAL, coverage=0.9, by_class=False)
