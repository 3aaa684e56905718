"""Alignment without labels: it mends a set that was moved and scaled, and says where its assumption breaks."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from icebox.features.errors import IceboxError
from icebox.pipeline.config.fit import Fit
from icebox.pipeline.data.class_weights import sample_weighter
from icebox.pipeline.data.labelled import LabelledData, LabelledSplit
from icebox.pipeline.estimators import alignment
from icebox.pipeline.estimators.alignment import AlignedHead
from icebox.pipeline.evaluation import class_shares
from icebox.pipeline.evaluation.predictions import score_head
from icebox.pipeline.fitting.adaptation import Adaptation
from icebox.pipeline.heads import logreg

D = 6


def items(n: int, share: float, seed: int, *, elsewhere: bool = False) -> LabelledSplit:
    """n items, of which such a share is of class 0; from elsewhere with all features scaled and moved."""
    random = np.random.default_rng(seed)
    labels = (random.random(n) >= share).astype(int)
    features = random.normal(0, 1, (n, D)) + 1.2 * labels[:, None]
    if elsewhere:
        features = features * np.linspace(0.5, 2, D) + np.linspace(-1, 3, D)
    ids = np.array([f"{seed}-{i}" for i in range(n)])
    return LabelledSplit(ids, features.astype(np.float32), labels, ids)


def adaptation(share: float = 0.4, *, seed: int = 0, n: int = 400, elsewhere: bool = True, **fit: object) -> Adaptation:
    """Train and val with 40 % of class 0, and a test with such a share, moved unless it is not from elsewhere."""
    splits = {
        "train": items(1000, 0.4, 100 + seed),
        "val": items(400, 0.4, 200 + seed),
        "test": items(n, share, 300 + seed, elsewhere=elsewhere),
    }
    data = LabelledData(["a", "b"], splits)
    settings = Fit.model_validate({"adapt": "standardize", **fit})
    return Adaptation(data, settings, 1, sample_weighter("none", data.classes, ""))


def accuracy(head: object, split: LabelledSplit, sets: Adaptation) -> float:
    return score_head(head, split, sets.raw).scores["accuracy"]


@pytest.mark.parametrize("method", ["standardize", "coral"])
def test_a_set_that_was_moved_and_scaled_is_mended_and_one_that_was_not_is_not_harmed(method):
    for elsewhere in (True, False):
        sets = adaptation(elsewhere=elsewhere, adapt=method)
        head = logreg.build().fit(sets.data.train.features, sets.data.train.labels)
        before, after = (accuracy(head, data.splits["test"], sets) for data in (sets.raw, sets.data))
        assert after > 0.9
        assert before < 0.75 if elsewhere else after > before - 0.02
    assert sets.data.train is sets.raw.train


def test_without_adapt_nothing_is_touched():
    sets = adaptation(adapt="none")
    assert sets.data is sets.raw
    head = object()
    assert sets.head(head) is head
    assert (sets.details(head), sets.unadapted_tests(head)) == ({}, {})


def test_coral_mends_correlations_which_standardizing_does_not():
    mix = np.eye(D) + np.triu(np.full((D, D), 1.5), 1)  # each feature is mixed with all that follow
    source, target = items(1000, 0.4, 1), items(1000, 0.4, 2)
    moved = (target.features @ mix).astype(np.float32)
    weights = np.ones(1000)
    covariances = {}
    for method in ("standardize", "coral"):
        measured = (alignment.measure(method, each, weights) for each in (source.features, moved))
        aligned = alignment.align(moved, *measured)
        covariances[method] = np.abs(np.cov(aligned.T) - np.cov(source.features.T)).max()
    assert 3 * covariances["coral"] < covariances["standardize"]


def test_statistics_count_a_group_once():
    features = np.array([[0.0], [0.0], [0.0], [4.0]], np.float32)
    measured = alignment.measure("standardize", features, alignment.unit_weights(["p", "p", "p", "q"]))
    assert (measured.mean[0], measured.spread[0]) == pytest.approx((2.0, 2.0))


def test_an_aligned_head_answers_items_one_by_one_as_it_does_all_together():
    sets = adaptation()
    head = logreg.build().fit(sets.data.train.features, sets.data.train.labels)
    aligned, test = sets.head(head), sets.raw.splits["test"]
    assert isinstance(aligned, AlignedHead)
    expected = head.predict_proba(sets.data.splits["test"].features)
    np.testing.assert_allclose(aligned.predict_proba(test.features), expected, atol=1e-6)
    one_by_one = np.concatenate([aligned.predict_proba(test.features[i : i + 1]) for i in range(20)])
    np.testing.assert_allclose(one_by_one, expected[:20], atol=1e-6)
    again = aligned.onto(test.features, test.groups, "these")
    np.testing.assert_allclose(again.predict_proba(test.features), expected, atol=1e-6)
    assert not hasattr(AlignedHead(LogisticRegression(), "standardize", sets.source, sets.source), "transform")


def test_a_feature_that_does_not_vary_stays_finite():
    features = np.random.default_rng(0).normal(0, 1, (100, 3)).astype(np.float32)
    flat = features.copy()
    flat[:, 1] = 5.0
    for method in ("standardize", "coral"):
        for source, target in ((features, flat), (flat, features)):
            measured = [alignment.measure(method, each, np.ones(100)) for each in (source, target)]
            assert np.abs(alignment.align(target, *measured)).max() < 20


@pytest.mark.parametrize(
    ("method", "n", "groups", "message"),
    [
        ("standardize", 16, 16, "adapt: test: standardize .* needs 30 items or more, found 16; give it more, or"),
        ("standardize", 60, 20, "needs 30 groups of items or more, found 20"),
        ("coral", 60, 60, "adapt: test: coral .* needs 100 items or more, found 60"),
    ],
)
def test_too_few_items_are_an_error_of_one_line(method, n, groups, message):
    sets = adaptation(n=n, adapt=method)
    sets.raw.splits["test"].groups[:] = [f"g{i % groups}" for i in range(n)]
    with pytest.raises(IceboxError, match=message):
        _ = sets.data


def test_coral_of_too_many_features_is_refused():
    with pytest.raises(IceboxError, match="expected at most 2,048 features, found 2,049; take fewer outputs"):
        alignment.measure("coral", np.zeros((200, 2049), np.float32), np.ones(200))


@pytest.mark.parametrize("by", ["em", "bbse"])
def test_where_shares_differ_alignment_harms_and_their_estimate_mends_it(by):
    plain, corrected = adaptation(0.85), adaptation(0.85, shares=by)
    head = logreg.build().fit(plain.data.train.features, plain.data.train.labels)
    harmed = accuracy(head, plain.data.splits["test"], plain)
    mended = accuracy(head, corrected.aligned("test", corrected.source_for(head, "test")), corrected)
    assert harmed < 0.7
    assert mended > 0.85
    shares = corrected.details(head)["adapt"]["targets"]["test"]
    assert shares["assumed"] == shares["estimated"]
    assert shares["estimated"]["a"] == pytest.approx(0.85, abs=0.08)


def share_told(share: float, by: str, draws: int) -> float:
    """The share of draws in which a test of these shares is told to differ from train, which has 0.4."""
    told = 0
    for seed in range(draws):
        sets = adaptation(share, seed=1000 * seed, refit="train" if by == "bbse" else "train+val")
        head = logreg.build().fit(sets.data.train.features, sets.data.train.labels)
        assert sets.by == by
        told += bool(sets.differing(head, "test"))
    return told / draws


@pytest.mark.parametrize("by", ["em", "bbse"])
@pytest.mark.slow
def test_shares_that_differ_are_told_and_equal_ones_are_not(by):
    assert share_told(0.4, by, 20) <= 0.1
    assert share_told(0.75, by, 5) >= 0.8


@pytest.mark.parametrize("share", [0.1, 0.4, 0.8])
def test_both_estimates_find_shares_where_nothing_else_differs(share):
    train, val, test = items(1000, 0.4, 1), items(1000, 0.4, 2), items(1000, share, 3)
    head = LogisticRegression().fit(train.features, train.labels)
    ones = np.ones(1000)
    by_em = class_shares.by_expectation(head.predict_proba(test.features), np.array([0.4, 0.6]), ones)
    one_hot = np.eye(2)
    confusion = class_shares.confusion_of(val.labels, one_hot[head.predict(val.features)], ones)
    by_bbse = class_shares.by_confusion(confusion, one_hot[head.predict(test.features)].mean(axis=0))
    actual = (test.labels == 0).mean()
    assert by_em[0] == pytest.approx(actual, abs=0.03)
    assert by_bbse[0] == pytest.approx(actual, abs=0.03)
    assert by_em.sum() == pytest.approx(1)


def test_scores_without_alignment_stand_beside():
    sets = adaptation()
    head = logreg.build().fit(sets.data.train.features, sets.data.train.labels)
    ((name, scored),) = sets.unadapted_tests(head).items()
    assert name == "test-unadapted"
    assert scored.scores["accuracy"] == accuracy(head, sets.raw.splits["test"], sets)
