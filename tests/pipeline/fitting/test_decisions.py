"""Decisions chosen on val: they reach the aim there, are the best there are, and hold on other items of the kind."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score, recall_score
from sklearn.model_selection import TunedThresholdClassifierCV

from icebox.features.errors import IceboxError
from icebox.pipeline.data.labelled import LabelledData, LabelledSplit
from icebox.pipeline.estimators.decision import OffsetHead, decide
from icebox.pipeline.evaluation.predictions import Predictions, score_head
from icebox.pipeline.fitting import decisions
from icebox.pipeline.heads import linear_svm, logreg

CLASSES = ["a", "b", "c"]


def answers(n: int = 400, k: int = 2, *, seed: int = 0, tilt: float = 0.0) -> tuple[Predictions, np.ndarray]:
    """Probabilities (n, k) that favor the last class by `tilt`, and labels, of which the first class has few."""
    random = np.random.default_rng(seed)
    labels = np.where(random.random(n) < 0.2, 0, random.integers(1, k, n))
    logits = random.normal(0, 1, (n, k)) + 1.5 * np.eye(k)[labels]
    logits[:, -1] += tilt
    p = np.exp(logits)
    p /= p.sum(axis=1, keepdims=True)
    return Predictions(p.argmax(axis=1), p, has_probabilities=True), labels


def blobs(n: int, *, spread: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """n items of two features and two classes, whose centers lie 2 apart in each."""
    random = np.random.default_rng(0)
    labels = np.arange(n) % 2
    return (random.normal(0, spread, (n, 2)) + 2 * labels[:, None]).astype(np.float32), labels


def decided(given: Predictions, offsets: np.ndarray) -> np.ndarray:
    return decide(given.scores, offsets, has_probabilities=True)


@pytest.mark.parametrize("tilt", [0.0, 2.0])
@pytest.mark.parametrize(("aim", "score"), [("balanced_accuracy", balanced_accuracy_score), ("f1_macro", None)])
@pytest.mark.slow
def test_of_two_classes_no_threshold_is_better_on_val(aim, score, tilt):
    score = score or (lambda actual, predicted: f1_score(actual, predicted, average="macro"))
    given, labels = answers(tilt=tilt)
    reached = score(labels, decided(given, decisions.choose_offsets(given, labels, aim, CLASSES[:2])))
    odds = np.log(given.scores[:, 1] / given.scores[:, 0])
    best = max(score(labels, (odds > threshold).astype(int)) for threshold in [-99, *odds])
    assert reached == pytest.approx(best)


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("aim", ["accuracy", "balanced_accuracy", "f1_macro"])
def test_the_aim_is_reached_better_than_by_the_largest_score_on_other_items_too(aim, k):
    score = {
        "accuracy": lambda actual, predicted: (actual == predicted).mean(),
        "balanced_accuracy": balanced_accuracy_score,
        "f1_macro": lambda actual, predicted: f1_score(actual, predicted, average="macro"),
    }[aim]
    given, labels = answers(k=k, tilt=2.0)
    offsets = decisions.choose_offsets(given, labels, aim, CLASSES[:k])
    further, truth = answers(4000, k, seed=1, tilt=2.0)
    assert score(truth, decided(further, offsets)) > score(truth, further.predicted) + 0.02


@pytest.mark.parametrize("k", [2, 3])
def test_a_recall_is_had_on_val_and_no_more_of_it_than_needed(k):
    given, labels = answers(1000, k, tilt=2.0)
    predicted = decided(given, decisions.choose_offsets(given, labels, {"recall": {"a": 0.9}}, CLASSES[:k]))
    assert 0.9 <= recall_score(labels, predicted, average=None)[0] < 0.93


def test_recalls_of_two_classes_are_had_together_or_refused():
    given, labels = answers(1000, 3, tilt=2.0)
    wanted = {"a": 0.7, "b": 0.7}
    predicted = decided(given, decisions.choose_offsets(given, labels, {"recall": wanted}, CLASSES))
    assert (recall_score(labels, predicted, average=None)[:2] >= 0.7).all()
    with pytest.raises(IceboxError, match=r"can't be had on val for all of these classes at once, only a 0\.\d+, b 0"):
        decisions.choose_offsets(given, labels, {"recall": {"a": 0.99, "b": 0.99, "c": 0.99}}, CLASSES)


def test_costs_move_decisions_as_bayes_has_it():
    # probabilities that are frequencies: by Bayes "a" is taken where 9 · p(a) > p(b), an offset of log 9
    random = np.random.default_rng(0)
    p = random.random(20_000)
    labels = (random.random(20_000) < p).astype(int)
    given = Predictions((p > 0.5).astype(int), np.column_stack([1 - p, p]), has_probabilities=True)
    offsets = decisions.choose_offsets(given, labels, {"costs": {"a": {"b": 9.0}}}, CLASSES[:2])
    assert offsets[0] - offsets[1] == pytest.approx(np.log(9), abs=0.25)


def test_where_the_largest_score_is_best_nothing_moves():
    labels = np.repeat([0, 1, 2], 10)
    given = Predictions(labels, np.eye(3)[labels] * 0.8 + 0.2 / 3, has_probabilities=True)
    for aim in ("balanced_accuracy", "f1_macro", {"recall": {"b": 1.0}}):
        assert not decisions.choose_offsets(given, labels, aim, CLASSES).any()


@pytest.mark.parametrize(
    ("aim", "message"),
    [
        ({"recall": {"d": 0.9}}, "decide: recall: no class named 'd'"),
        ({"costs": {"a": {"cc": 3.0}}}, "decide: costs: no class named 'cc'; did you mean 'c'"),
        ({"recall": {"c": 0.9}}, "expected items of 'c' in val to choose by, found none"),
    ],
)
def test_classes_that_there_are_not_are_named(aim, message):
    given, labels = answers(k=3)
    with pytest.raises(IceboxError, match=message):
        decisions.choose_offsets(given, np.minimum(labels, 1), aim, CLASSES)


def test_many_items_and_classes_take_no_time():
    given, labels = answers(5000, 40)
    offsets = decisions.choose_offsets(given, labels, "balanced_accuracy", [str(i) for i in range(40)])
    assert balanced_accuracy_score(labels, decided(given, offsets)) > balanced_accuracy_score(labels, given.predicted)


@pytest.mark.parametrize("build", [logreg.build, linear_svm.build])
def test_a_head_keeps_its_scores_and_changes_its_answers(build):
    X, y = blobs(200)
    rare = np.flatnonzero((y == 0) | (np.arange(len(y)) % 5 == 0))
    split = LabelledSplit(np.arange(len(rare)).astype(str), X[rare], y[rare], np.arange(len(rare)))
    data = LabelledData(["a", "b"], {"train": split, "val": split, "test": split})
    head = build().fit(X[rare], y[rare])
    moved = decisions.decided_head(head, data, {"recall": {"b": 1.0}})
    assert isinstance(moved, OffsetHead)
    assert hasattr(moved, "predict_proba") == hasattr(head, "predict_proba")
    assert recall_score(y[rare], moved.predict(X[rare])) == 1.0
    with pytest.raises(IceboxError, match="expected items in val to choose by, found none"):
        decisions.decided_head(head, LabelledData(["a", "b"], {"train": split, "test": split}), "f1_macro")


def test_scikit_learn_finds_no_better_threshold():
    X, y = blobs(300, spread=3.0)
    rare = np.flatnonzero((y == 1) | (np.arange(len(y)) % 6 == 0))
    X, y = X[rare], y[rare]
    head = logreg.build().fit(X, y)
    split = LabelledSplit(np.arange(len(y)).astype(str), X, y, np.arange(len(y)))
    ours = decisions.decided_head(head, LabelledData(["a", "b"], {"train": split, "val": split}), "balanced_accuracy")
    tuned = TunedThresholdClassifierCV(head, scoring="balanced_accuracy", cv="prefit", refit=False, thresholds=1000)
    assert balanced_accuracy_score(y, ours.predict(X)) >= balanced_accuracy_score(y, tuned.fit(X, y).predict(X))


def test_the_scores_of_the_largest_stand_beside_those_that_were_decided():
    X, y = blobs(100)
    split = LabelledSplit(np.arange(len(y)).astype(str), X, y, np.arange(len(y)))
    data = LabelledData(["a", "b"], {"train": split, "val": split, "test": split, "test-far": split})
    head = logreg.build().fit(X, y)
    moved = decisions.decided_head(head, data, {"recall": {"b": 1.0}})
    tests = {name: score_head(moved, part, data) for name, part in data.tests.items()}
    beside = decisions.undecided_tests(moved, tests, data)
    assert list(beside) == ["test-argmax", "test-far-argmax"]
    assert (beside["test-argmax"].predictions.predicted == head.predict(X)).all()
    assert decisions.undecided_tests(head, tests, data) == {}
    with pytest.raises(IceboxError, match="split test-argmax: this name is kept"):
        decisions.undecided_tests(moved, {**tests, "test-argmax": tests["test"]}, data)


def gain_elsewhere(seed: int, *, tilt: float, n: int = 150, k: int = 8, guarded: bool = True) -> float:
    """The gain of macro-F1 on other items, of offsets that were chosen on n items of k classes."""
    given, labels = answers(n, k, seed=seed, tilt=tilt)
    groups = np.arange(n) if guarded else None
    offsets = decisions.choose_offsets(given, labels, "f1_macro", [str(i) for i in range(k)], groups)
    further, truth = answers(2000, k, seed=1000 + seed, tilt=tilt)
    moved, largest = (f1_score(truth, each, average="macro") for each in (decided(further, offsets), further.predicted))
    return float(moved - largest)


def test_offsets_that_fit_the_chance_of_few_items_are_left_out():
    unguarded, guarded = (
        np.array([gain_elsewhere(seed, tilt=0.0, guarded=each) for seed in range(12)]) for each in (False, True)
    )
    assert guarded.mean() > unguarded.mean()
    assert (guarded == 0).mean() >= 0.5
    helped = np.array([gain_elsewhere(seed, tilt=2.5) for seed in range(5)])
    assert (helped > 0).all()  # what is worth moving is moved all the same


def test_groups_lie_in_one_fold():
    given, labels = answers(60, 2)
    one_group = np.zeros(60)
    assert decisions.holds_on_folds(
        given.scores, labels, one_group, decisions.aim_of("accuracy", "ab", np.array([9, 9]))
    )
