"""Thresholds of sets of labels, and all that fitting does with them."""

import numpy as np
import pytest
from sklearn.metrics import f1_score, recall_score

from icebox.features.errors import IceboxError
from icebox.pipeline.config.fit import Fit
from icebox.pipeline.data.labelled import LabelledData, LabelledSplit, positions_per_class
from icebox.pipeline.estimators.decision import ThresholdHead
from icebox.pipeline.fitting import cross_validation, details, final_fit
from icebox.pipeline.fitting.candidates import subsample
from icebox.pipeline.fitting.decisions import best_threshold, threshold_of_recall
from icebox.pipeline.fitting.head_factory import HeadFactory
from icebox.pipeline.heads import logreg, ridge

TASK = frozenset({"task"})


def labelled_split(n: int, seed: int, *, groups: int | None = None) -> LabelledSplit:
    random = np.random.default_rng(seed)
    X = random.normal(size=(n, 5)).astype(np.float32)
    labels = np.column_stack([X[:, 0] + random.normal(0, 1, n) > cut for cut in (0, 1.2, 2.5)]).astype(np.int8)
    ids = np.array([f"{seed}-{i}" for i in range(n)])
    return LabelledSplit(ids, X, labels, ids if groups is None else np.array([f"g{i % groups}" for i in range(n)]))


def data(*, val: bool = True) -> LabelledData:
    splits = {"train": labelled_split(200, 0), "test": labelled_split(100, 2)}
    return LabelledData(["a", "b", "c"], splits | ({"val": labelled_split(120, 1)} if val else {}), "multilabel")


def fitted(build, source: LabelledData, **settings):
    fit = Fit(choose="mean_ap", seeds=1, **settings)
    factory = HeadFactory(build, "multilabel", TASK)
    return final_fit.fit_head(factory, [{}], source, fit, sample_weighter=lambda labels: None)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("decimals", [1, 6])
def test_no_threshold_has_a_better_f1(seed, decimals):
    random = np.random.default_rng(seed)
    having, scores = random.random(40) < 0.2, random.random(40).round(decimals)
    scores += 0.1 * having
    best = f1_score(having, scores > best_threshold(scores, having, plain=0.5))
    every = [f1_score(having, scores > cut, zero_division=0) for cut in [-1, *np.unique(scores)]]
    assert best == pytest.approx(max(every))


def test_thresholds_by_hand():
    scores, having = np.array([0.9, 0.8, 0.4, 0.2, 0.1]), np.array([1, 1, 1, 0, 0], bool)
    assert best_threshold(scores, having, plain=0.25) == 0.25  # as good as any other
    assert best_threshold(scores, having, plain=0.5) == pytest.approx(0.3)
    assert best_threshold(scores, np.zeros(5, bool), plain=0.5) == 0.5
    assert best_threshold(scores, np.ones(5, bool), plain=0.05) == 0.05
    assert best_threshold(np.full(5, 0.3), having, plain=0.5) < 0.3  # all have it, or none


def test_the_threshold_of_a_recall_is_the_highest_that_has_it():
    scores, having = np.array([0.9, 0.8, 0.4, 0.2, 0.1]), np.array([1, 0, 1, 1, 0], bool)
    found = [threshold_of_recall(scores, having, recall) for recall in (0.1, 1 / 3, 0.34, 0.66, 2 / 3, 0.67, 1.0)]
    assert found == pytest.approx([0.85, 0.85, 0.3, 0.3, 0.3, 0.15, 0.15])
    assert threshold_of_recall(np.full(3, 0.5), np.array([1, 0, 1], bool), 0.5) < 0.5  # of equals all or none


@pytest.mark.parametrize("settings", [{}, {"refit": "train+val"}, {"folds": 4}])
@pytest.mark.parametrize("build", [logreg.build, ridge.build])
def test_a_labels_recall_chooses_its_threshold_and_f1_those_of_others(build, settings):
    source = data()
    plain = fitted(build, source, **settings).seeds[0]
    result = fitted(build, source, decide={"recall": {"c": 0.95}}, **settings)
    decided = result.seeds[0]
    np.testing.assert_array_equal(decided.fitted.head.thresholds[:2], plain.fitted.head.thresholds[:2])
    assert decided.fitted.head.thresholds[2] < plain.fitted.head.thresholds[2]
    if not settings:
        chosen = final_fit.score_head(decided.fitted.head, source.val, source).predictions.predicted[:, 2]
        assert recall_score(source.val.labels[:, 2], chosen) >= 0.95
    fit = Fit(decide={"recall": {"c": 0.95}})
    assert details.decisions(decided.fitted.head, fit, source.classes)["decide"] == fit.decide


def test_a_recall_of_an_unknown_label_or_one_without_items_is_one_line():
    source = data()
    with pytest.raises(IceboxError, match=r"^decide: recall: no class named 'd'"):
        fitted(logreg.build, source, decide={"recall": {"d": 0.95}})
    source.val.labels[:, 2] = 0
    with pytest.raises(IceboxError, match=r"^decide: recall: expected items with 'c' to choose by, found none"):
        fitted(logreg.build, source, decide={"recall": {"c": 0.95}})


@pytest.mark.parametrize("build", [logreg.build, ridge.build])
def test_thresholds_are_chosen_on_val_and_kept_in_the_head(build):
    source = data()
    seed = fitted(build, source).seeds[0]
    head = seed.fitted.head
    assert isinstance(head, ThresholdHead)
    scored = final_fit.score_head(head, source.val, source)
    plain = final_fit.score_head(head.head, source.val, source)
    assert scored.scores["label_f1_macro"] > plain.scores["label_f1_macro"]
    assert scored.scores["mean_ap"] == plain.scores["mean_ap"]
    test = seed.tests["test"].predictions
    np.testing.assert_array_equal(test.predicted, test.scores > head.thresholds)
    np.testing.assert_array_equal(test.predicted, head.predict(source.splits["test"].features))
    assert hasattr(head, "predict_proba") == (build is logreg.build)


def test_after_a_refit_on_val_thresholds_are_those_of_the_head_that_had_not_seen_it():
    source = data()
    apart, refitted = fitted(logreg.build, source), fitted(logreg.build, source, refit="train+val")
    np.testing.assert_array_equal(apart.seeds[0].fitted.head.thresholds, refitted.seeds[0].fitted.head.thresholds)


@pytest.mark.parametrize("settings", [{}, {"folds": 4}])
def test_without_val_thresholds_are_chosen_on_folds(settings):
    result = fitted(logreg.build, data(val=bool(settings)), **settings)
    assert "fold" in result.search.chosen_on
    thresholds = result.seeds[0].fitted.head.thresholds
    assert thresholds.shape == (3,)
    assert 0 < thresholds[2] < 0.5  # of the rare label
    assert result.seeds[0].tests["test"].scores["label_f1_macro"] > 0.3


@pytest.mark.parametrize("groups", [None, 30])
def test_folds_are_stratified_by_every_label_and_keep_groups_together(groups):
    split = labelled_split(200, 0, groups=groups)
    pairs = cross_validation.folds(split, 5, task="multilabel", seed=0)
    assert len(pairs) == 5
    assert sorted(np.concatenate([scored.item_ids for _, scored in pairs])) == sorted(split.item_ids)
    for on, scored in pairs:
        assert not set(on.groups) & set(scored.groups)
        assert np.abs(scored.labels.sum(axis=0) - split.labels.sum(axis=0) / 5).max() <= (1 if groups is None else 6)
    with pytest.raises(IceboxError, match="expected two groups or more in train"):
        cross_validation.folds(labelled_split(20, 0, groups=1), 5, task="multilabel", seed=0)


def test_so_many_labels_a_class_are_drawn_nested_and_items_without_any_too():
    split = labelled_split(200, 0)
    few, more = (set(positions_per_class(split, n, seed=0).tolist()) for n in (3, 8))
    assert few < more
    labels = split.labels[sorted(few)]
    assert (labels.sum(axis=0) >= np.minimum(3, split.labels.sum(axis=0))).all()
    assert (labels.sum(axis=1) == 0).sum() == 3
    assert len(few) < 15


def test_halving_draws_from_sets_as_well():
    split = labelled_split(90, 0)
    assert len(subsample(split, 1 / 3, task="multilabel", seed=0)) == 30
