"""Metrics of sets of labels: by hand, and against scikit-learn."""

import numpy as np
import pytest
from sklearn import metrics as trusted

from icebox.pipeline.comparison import bootstrap
from icebox.pipeline.evaluation import metrics, multilabel
from icebox.pipeline.evaluation.metrics import METRICS
from icebox.pipeline.evaluation.multilabel import LabelSetSample

NAMES = ["mean_ap", "label_f1_macro", "label_f1_micro", "ranking_loss", "exact_match"]


def sample(labels, scores, threshold=0.5) -> LabelSetSample:
    scores = np.array(scores, float)
    return LabelSetSample(np.array(labels, bool), scores > threshold, scores)


def random_sample(seed: int, n: int = 60, k: int = 5, ties: bool = False) -> LabelSetSample:
    random = np.random.default_rng(seed)
    labels = random.random((n, k)) < random.uniform(0.1, 0.9, k)
    scores = np.clip(0.3 * labels + random.random((n, k)) * 0.7, 0, 1)
    return sample(labels, scores.round(1) if ties else scores)


def test_they_are_the_metrics_of_the_task_and_choose():
    assert [metric.name for metric in metrics.of_task("multilabel")] == NAMES
    assert metrics.choices("multilabel") == NAMES
    assert metrics.primary("multilabel").name == "mean_ap"


def test_three_items_by_hand():
    """Label a: ranked hit, miss, hit: (1 + 2/3) / 2. Label b: miss, hit: 1/2, then a miss."""
    three = sample([[1, 0], [0, 1], [1, 0]], [[0.9, 0.1], [0.7, 0.4], [0.6, 0.8]])
    scores = metrics.scores(three)
    assert multilabel.average_precisions(three)[0] == pytest.approx([5 / 6, 1 / 2])
    assert scores["mean_ap"] == pytest.approx((5 / 6 + 1 / 2) / 2)
    # predicted: {a}, {a}, {a, b}; a: 2 right of 3 said, 2 there; b: none right
    assert scores["label_f1_macro"] == pytest.approx((4 / 5 + 0) / 2)
    assert scores["label_f1_micro"] == pytest.approx(2 * 2 / (4 + 3))
    assert scores["ranking_loss"] == pytest.approx((0 + 1 + 1) / 3)
    assert scores["exact_match"] == pytest.approx(1 / 3)
    assert scores["n"] == 3


def test_equal_scores_count_together_in_any_order_and_wrongly_in_a_ranking():
    tied = sample([[1, 0], [0, 1]], [[0.5, 0.5], [0.5, 0.5]])
    assert metrics.scores(tied)["mean_ap"] == pytest.approx(0.5)
    assert metrics.scores(tied)["ranking_loss"] == 1


def test_items_without_a_label_or_with_all_have_no_ranking_to_lose():
    three = sample([[0, 0], [1, 1], [1, 0]], [[0.9, 0.1], [0.1, 0.9], [0.1, 0.9]])
    assert multilabel.ranking_losses(three).tolist() == [0, 0, 1]


def test_labels_that_no_item_has_and_none_is_predicted_are_left_out():
    two = sample([[1, 0, 0], [0, 0, 1]], [[0.9, 0.1, 0.2], [0.2, 0.1, 0.9]])
    assert metrics.scores(two)["label_f1_macro"] == 1
    assert metrics.scores(two)["mean_ap"] == 1
    nothing = sample([[0, 0], [0, 0]], [[0.1, 0.2], [0.2, 0.1]])
    assert {name: metrics.scores(nothing)[name] for name in NAMES} == dict(zip(NAMES, [0, 0, 0, 0, 1], strict=True))


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_they_are_scikit_learns(seed, ties):
    one = random_sample(seed, ties=ties)
    scores = metrics.scores(one)
    y, p = one.labels.astype(int), one.predicted.astype(int)
    assert scores["mean_ap"] == pytest.approx(trusted.average_precision_score(y, one.scores, average="macro"))
    assert scores["label_f1_macro"] == pytest.approx(trusted.f1_score(y, p, average="macro", zero_division=0))
    assert scores["label_f1_micro"] == pytest.approx(trusted.f1_score(y, p, average="micro"))
    assert scores["ranking_loss"] == pytest.approx(trusted.label_ranking_loss(y, one.scores))
    assert scores["exact_match"] == pytest.approx(trusted.accuracy_score(y, p))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("ties", [False, True])
def test_a_weight_is_so_many_copies_of_an_item(name, ties):
    one = random_sample(0, ties=ties)
    weights = np.random.default_rng(1).integers(0, 4, (7, len(one))).astype(np.float32)
    weighted = METRICS[name].function(one.reweighted(weights))
    copied = [METRICS[name].function(one.part(np.repeat(np.arange(len(one)), w.astype(int)))) for w in weights]
    np.testing.assert_allclose(weighted, copied, rtol=1e-5)


def test_intervals_hold_the_score_and_widen_with_groups():
    one = random_sample(3, n=200)
    for name in NAMES:
        low, high = bootstrap.score_interval(METRICS[name], one, np.arange(200))
        assert low < METRICS[name].function(one) < high
        assert high - low < 0.3
    alone = bootstrap.score_interval(METRICS["mean_ap"], one, np.arange(200))
    grouped = bootstrap.score_interval(
        METRICS["mean_ap"], one.part(np.repeat(np.arange(50), 4)), np.repeat(np.arange(50), 4)
    )
    assert grouped[1] - grouped[0] > 1.5 * (alone[1] - alone[0])


def test_a_swap_test_sees_order_alone_not_the_scale_of_scores():
    one = random_sample(4, n=120)
    rescaled = LabelSetSample(one.labels, one.predicted, 100 * one.scores - 50)
    assert bootstrap.swap_test(METRICS["mean_ap"], one, rescaled, np.arange(120), swaps=99) == 1.0
    better = LabelSetSample(one.labels, one.predicted, 1000 * (one.scores + one.labels))
    assert bootstrap.swap_test(METRICS["mean_ap"], one, better, np.arange(120), swaps=399) < 0.01


def test_a_swap_test_of_equal_heads_is_level():
    """Of two heads of equal skill, 5 % of tests at most say that they differ, but for chance."""
    random, small = np.random.default_rng(0), []
    for _ in range(40):
        labels = random.random((40, 2)) < 0.4
        heads = [sample(labels, labels + random.normal(0, 1, labels.shape)) for _ in range(2)]
        small.append(bootstrap.swap_test(METRICS["mean_ap"], *heads, np.arange(40), swaps=59) < 0.05)
    assert np.mean(small) <= 0.12


def test_scores_that_are_no_numbers_are_refused():
    with pytest.raises(ValueError, match="NaN"):
        metrics.scores(sample([[1, 0]], [[np.nan, 0.1]]))


def test_the_table_by_class():
    three = sample([[1, 0, 0], [0, 1, 0], [1, 0, 0]], [[0.9, 0.1, 0], [0.7, 0.4, 0], [0.6, 0.8, 0]])
    first, second, third = three.by_class(["a", "b", "c"])
    assert first == {"class": "a", "n": 2, "precision": 2 / 3, "recall": 1.0, "f1": 0.8, "ap": pytest.approx(5 / 6)}
    assert (second["n"], second["precision"], second["recall"], second["f1"]) == (1, 0, 0, 0)
    assert third == {"class": "c", "n": 0, "precision": None, "recall": None, "f1": None, "ap": None}
