"""What should make one doubt a winner, where the numbers bear it out and where they don't."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from icebox.features.errors import IceboxError
from icebox.pipeline.comparison import cautions, statistics
from icebox.pipeline.comparison.leaderboard import LeaderboardEntry
from icebox.pipeline.comparison.test_predictions import ClassificationPredictions, LabelSetPredictions
from icebox.pipeline.evaluation.metrics import METRICS
from icebox.pipeline.project import paths

FOLDS = [0.97, 0.98, 0.96, 0.97, 0.98]


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def entry(val: float, test: float, metric: str = "accuracy", *, n: int = 500, **details: Any) -> LeaderboardEntry:
    scores = [{"n": n, metric: score} for score in (val, test)]
    return LeaderboardEntry("d", "net", "d-net", "logreg", *scores, {}, {}, 0.1, 0.1, 9, 1, details, METRICS[metric])


@pytest.mark.parametrize(
    ("val", "test", "interval", "told"),
    [
        (0.980, 0.835, (0.80, 0.86), True),  # the X-rays
        (0.980, 0.960, (0.94, 0.975), False),  # chance
        (0.835, 0.980, (0.97, 0.99), False),  # better on test is no trouble
    ],
)
def test_a_test_score_far_below_vals_is_told(val: float, test: float, interval: tuple[float, float], told: bool):
    sentences = list(cautions.gap_to_test(entry(val, test), interval))
    assert bool(sentences) == told
    if told:
        assert "accuracy is far from that on val: 0.835 (95 % 0.800 … 0.860) against 0.980" in sentences[0]


def test_a_gap_is_no_wonder_where_val_is_small():
    assert not list(cautions.gap_to_test(entry(1.0, 0.9, n=16), (0.85, 0.93)))


def share_of_gaps_told(val: float, test: float, n_val: int, n_test: int, draws: int = 2000) -> float:
    """The share of pairs of samples of which a gap is told, where these are the true accuracies."""
    random, told = np.random.default_rng(0), 0
    for right_of_val, right_of_test in random.binomial([n_val, n_test], [val, test], (draws, 2)).tolist():
        scores = right_of_val / n_val, right_of_test / n_test
        interval = statistics.proportion_interval(scores[1], n_test)
        told += bool(list(cautions.gap_to_test(entry(*scores, n=n_val), interval)))
    return told / draws


@pytest.mark.parametrize(("n_val", "n_test"), [(600, 282), (16, 600), (100, 100), (60, 2000)])
@pytest.mark.parametrize("accuracy", [0.6, 0.9, 0.98])
def test_of_equal_places_a_gap_is_told_once_in_forty(accuracy: float, n_val: int, n_test: int):
    assert share_of_gaps_told(accuracy, accuracy, n_val, n_test) < 0.04


@pytest.mark.parametrize(
    ("val", "test", "n_val", "n_test", "power"), [(0.98, 0.835, 600, 282, 0.99), (0.9, 0.8, 200, 200, 0.75)]
)
def test_of_unequal_places_a_gap_is_told(val: float, test: float, n_val: int, n_test: int, power: float):
    assert share_of_gaps_told(val, test, n_val, n_test) > power


@pytest.mark.parametrize(("metric", "val", "test"), [("f1_macro", 0.97, 0.7), ("log_loss", 0.03, 0.6)])
def test_a_gap_after_folds_is_told_by_their_spread(metric: str, val: float, test: float):
    folds = [{"n": 100, metric: score if metric == "f1_macro" else 1 - score} for score in FOLDS]
    one = entry(val, test, metric, chosen_on="5-fold in train", folds=folds)
    assert list(cautions.gap_to_test(one, (test - 0.02, test + 0.02)))
    assert not list(cautions.gap_to_test(one, (val - 0.02, val + 0.02)))


def test_the_interval_of_vals_score_is_made_of_its_predictions():
    right = np.arange(200) % 10 > 0
    labels = np.where(np.arange(200) % 2, "a", "b")
    other = np.where(labels == "a", "b", "a")
    table = {
        "item_id": [f"v{i}" for i in range(200)],
        "split": ["val"] * 200,
        "label": labels.tolist(),
        "prediction": np.where(right, labels, other).tolist(),
        "score_a": [0.0] * 200,
        "score_b": [0.0] * 200,
    }
    path = paths.predictions("d-net", "logreg")
    path.parent.mkdir(parents=True)
    pq.write_table(pa.table(table), path)
    low, high = cautions.val_interval(entry(0.9, 0.5, "f1_macro")) or (0, 0)
    assert 0.84 < low < 0.88
    assert 0.92 < high < 0.96


@pytest.mark.parametrize("n", [16, 49])
def test_few_items_are_told(n: int):
    small = replace(entry(0.9, 0.9), val={"n": n, "accuracy": 0.9}, test={"n": n, "accuracy": 0.9})
    val, test = cautions.few_items(small)
    assert f"Val has {n} items only" in val
    assert f"Test has {n} items only" in test
    (only,) = cautions.few_items(replace(small, details={"chosen_on": "5-fold in train"}))
    assert "Test" in only
    assert not list(cautions.few_items(entry(0.9, 0.9)))


def test_fewer_folds_than_asked_for_are_told():
    (sentence,) = cautions.fewer_folds(entry(0.9, 0.9, fewer_folds="settings were compared on 2 folds, not 5"))
    assert sentence == "Settings were compared on 2 folds, not 5."


def predictions(recalls: dict[str, float], n: int = 100) -> ClassificationPredictions:
    """n items of each class, of which such a share is right; the others are taken for the next class."""
    labels = np.repeat(np.arange(len(recalls)), n)
    wrong = np.concatenate([np.arange(n) >= recall * n for recall in recalls.values()])
    predicted = np.where(wrong, (labels + 1) % len(recalls), labels)
    ids = [str(i) for i in range(len(labels))]
    return ClassificationPredictions(list(recalls), ids, labels, predicted, np.ones(len(labels)), "margin")


@pytest.mark.parametrize(
    ("recalls", "sentence"),
    [
        (
            {"NORMAL": 0.57, "PNEUMONIA": 0.99},
            "“NORMAL” least often (57% of 100, of the other 99%), and mostly takes",
        ),
        (
            {"a": 1.0, "b": 0.5, "c": 0.9},
            "“b” least often (50% of 100, of the others 95%), and mostly takes it for “c”",
        ),
        ({"a": 0.9, "b": 0.95}, ""),
        ({"a": 0.4, "b": 0.45, "c": 0.5}, ""),
    ],
)
def test_the_weakest_class_is_named_with_what_it_is_taken_for(recalls: dict[str, float], sentence: str):
    found = list(cautions.weakest_class(predictions(recalls)))
    assert len(found) == bool(sentence)
    assert sentence in "".join(found)


def test_of_few_items_no_recall_is_known():
    assert not list(cautions.weakest_class(predictions({"a": 0.0, "b": 1.0}, n=9)))


def aligned(*, differs: list[str], shares: str = "train") -> LeaderboardEntry:
    """An entry whose test, with 0.62 of NORMAL as it seems, was aligned to train."""
    target = {"assumed": {"NORMAL": 0.33}, "estimated": {"NORMAL": 0.62}, "differs": differs}
    adapt = {"method": "standardize", "shares": shares, "train": {"NORMAL": 0.33}, "targets": {"test": target}}
    return replace(entry(0.97, 0.93, adapt=adapt), further={"test-unadapted": {"n": 500, "accuracy": 0.805}})


def test_an_alignment_is_told_with_the_score_without_it():
    (sentence,) = cautions.transductive(aligned(differs=[]))
    assert "Test's score is transductive" in sentence
    assert "(standardize): accuracy 0.930, without it 0.805 (test-unadapted)" in sentence
    assert not list(cautions.transductive(entry(0.97, 0.93)))


def test_shares_that_an_alignment_may_not_take_to_be_equal_are_told_with_the_cure():
    _, sentence = cautions.transductive(aligned(differs=["NORMAL"]))
    assert "(“NORMAL” 0.62 for 0.33); alignment has them equal, and may do harm: correct for it" in sentence
    _, sentence = cautions.transductive(aligned(differs=["NORMAL"], shares="em"))
    assert "alignment has them as estimated" in sentence


def test_the_cure_of_a_gap_is_alignment_unless_test_was_aligned():
    for one, told in ((entry(0.98, 0.835), True), (replace(aligned(differs=[]), test={"accuracy": 0.8}), False)):
        (sentence,) = cautions.gap_to_test(one, (0.77, 0.83))
        assert ("adapt: standardize" in sentence) == told


def test_a_gap_of_decisions_is_no_gap_of_places():
    # decided for a recall, so that test's accuracy falls; by the largest score it is val's
    one = entry(0.95, 0.7, offsets={"a": 1.0, "b": -1.0}, decide={"recall": {"a": 0.99}})
    assert not list(cautions.gap_to_test(one, (0.65, 0.75)))
    labels = ["a", "b"] * 100
    for right, told in ((190, False), (140, True)):
        predicted = [label if i < right else "ab".replace(label, "") for i, label in enumerate(labels)]
        names = ("item_id", "split", "label", "prediction", "score_a", "score_b")
        columns = ([f"t{i}" for i in range(200)], ["test-argmax"] * 200, labels, predicted, [0.0] * 200, [0.0] * 200)
        path = paths.predictions("d-net", "logreg")
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(dict(zip(names, columns, strict=True))), path)
        further = {"test-argmax": {"n": 200, "accuracy": right / 200}}
        assert bool(list(cautions.gap_to_test(replace(one, further=further), (0.65, 0.75)))) == told


def test_a_weak_class_has_a_cure_unless_decisions_were_moved():
    weak = predictions({"NORMAL": 0.57, "PNEUMONIA": 0.99})
    assert "move the decision: decide: {recall: {NORMAL: 0.9}}" in next(cautions.weakest_class(weak))
    assert "decide" not in next(cautions.weakest_class(weak, decided=True))


def test_test_sets_that_lie_elsewhere_are_told():
    path = paths.look("d-net")
    path.parent.mkdir(parents=True)
    assert not list(cautions.elsewhere("d-net"))
    apart = {"test": {"auc": 0.97, "p": 1e-9, "n": 282}, "test-near": {"auc": 0.51, "p": 0.4, "n": 99}}
    path.write_text(json.dumps({"mapped": 3, "suspected": 0, "sha256": "0", "apart": apart}))
    (sentence,) = cautions.elsewhere("d-net")
    assert "Test lies elsewhere than train" in sentence
    assert "which is which in 97% of pairs (p < 0.001)" in sentence
    path.write_text('{"mapped": 3}')  # of an earlier version
    assert not list(cautions.elsewhere("d-net"))
    path.write_text('{"apart": 3}')
    with pytest.raises(IceboxError, match=r"damaged .*; run: dvc repro -f look@d-net"):
        list(cautions.elsewhere("d-net"))


def test_labels_that_are_hardly_ranked_or_rare_are_told():
    random = np.random.default_rng(0)
    labels = random.random((100, 4)) < [0.4, 0.4, 0.03, 0.9]
    scores = np.column_stack([labels[:, 0] + random.normal(0, 0.1, 100), random.random((100, 3))])
    predictions = LabelSetPredictions(list("abcd"), [f"i{i}" for i in range(100)], labels, scores > 0.5, scores)
    weak, rare = cautions.weak_labels(predictions, entry(0.9, 0.9, "mean_ap"))
    assert "“b” 0." in weak
    assert "“d” 0." in weak
    assert "“a”" not in weak + rare
    assert "“c” (" in rare
