import numpy as np
import pytest
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression, Ridge

from icebox.pipeline.heads import linear_probe


@pytest.mark.parametrize("classes", [2, 3])
def test_it_nears_the_optimum_of_logistic_regression(classes):
    X, y = make_classification(n_samples=600, n_features=8, n_informative=6, n_classes=classes, random_state=0)
    weights = np.random.default_rng(0).uniform(0.5, 2, 600)
    X = X.astype(np.float32)
    probe = linear_probe.build(learning_rate=0.03, weight_decay=0.01, epochs=500, batch_size=600, scale="none")
    ours = probe.fit(X, y, sample_weight=weights)
    theirs = LogisticRegression(C=1 / (weights.sum() * 0.01), tol=1e-8, max_iter=5000).fit(X, y, weights)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=5e-3)


def test_it_nears_the_optimum_of_ridge_regression():
    random = np.random.default_rng(0)
    X = random.normal(size=(500, 5)).astype(np.float32)
    y = 20 * (X @ random.normal(size=5)) + random.normal(size=500) + 300
    probe = linear_probe.build(
        learning_rate=0.03, weight_decay=0.1, epochs=500, batch_size=500, scale="none", task="regression"
    )
    probe.fit(X, y)
    theirs = Ridge(alpha=500 * 0.1).fit(X, y)
    np.testing.assert_allclose(probe.estimator_.coef_[0] * probe.targets_.scale_, theirs.coef_, rtol=1e-3)
    np.testing.assert_allclose(probe.predict(X), theirs.predict(X), rtol=1e-3)


def test_what_is_trained_side_by_side_is_what_each_would_be_alone():
    X, y = make_classification(n_samples=300, n_features=8, n_informative=6, n_classes=3, random_state=0)
    candidates = [{"learning_rate": r, "weight_decay": d} for r in (0.001, 0.1) for d in (0.0, 0.1)]
    for position, ours in linear_probe.build().fit_path(X, y, candidates):
        alone = linear_probe.build(**candidates[position]).fit(X, y)
        np.testing.assert_allclose(ours.predict_proba(X), alone.predict_proba(X), atol=1e-4)
        assert ours.estimator.learning_rate == candidates[position]["learning_rate"]


COLUMNS = {"early": [(0, 3)], "late": [(3, 8)]}


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.slow
def test_outputs_are_an_axis_of_the_grid_and_each_candidate_is_what_it_would_be_alone(classes):
    X, y = make_classification(n_samples=300, n_features=8, n_informative=6, n_classes=classes, random_state=0)
    choices = (["early"], None, ["early", "late"], ["late"])
    candidates = [{"learning_rate": r, "outputs": outputs} for r in (0.003, 0.1) for outputs in choices]
    heads = dict(linear_probe.build(columns=COLUMNS).fit_path(X, y, candidates))
    assert sorted(heads) == list(range(8))
    for position, ours in heads.items():
        alone = linear_probe.build(**candidates[position], columns=COLUMNS).fit(X, y)
        np.testing.assert_allclose(ours.predict_proba(X), alone.predict_proba(X), atol=1e-4)
    narrow = linear_probe.build(learning_rate=0.1).fit(X[:, 3:], y)  # as if the store had no other output
    np.testing.assert_allclose(heads[7].predict_proba(X), narrow.predict_proba(X[:, 3:]), atol=1e-4)
    assert not heads[7].estimator_.coef_[:, :3].any()
    np.testing.assert_allclose(heads[5].predict_proba(X), heads[6].predict_proba(X), atol=1e-4)


def test_outputs_of_a_regression():
    X = np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32)
    y = X @ np.arange(8.0) + 5
    candidates = [{"outputs": ["early"]}, {"outputs": ["late"]}]
    heads = dict(linear_probe.build(columns=COLUMNS, task="regression").fit_path(X, y, candidates))
    assert heads[0].score(X, y) < 0.1 < 0.5 < heads[1].score(X, y)


def test_outputs_that_there_are_not_are_said_once_the_others_are_fitted():
    X, y = make_classification(n_samples=100, n_features=8, n_informative=6, random_state=0)
    path = linear_probe.build(columns=COLUMNS).fit_path(X, y, [{"outputs": ["later"]}, {"outputs": ["late"]}])
    assert next(path)[0] == 1
    with pytest.raises(ValueError, match="outputs: expected some of what the heads see: early, late; found later"):
        next(path)
    with pytest.raises(ValueError, match="with pca"):
        linear_probe.build(columns=COLUMNS, outputs=["late"], pca=2).fit(X, y)


def test_another_seed_is_another_head_and_the_same_seed_the_same():
    X, y = make_classification(n_samples=300, n_features=8, n_informative=6, random_state=0)
    one, other, again = (linear_probe.build(seed=seed).fit(X, y).estimator_.coef_ for seed in (0, 1, 0))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)
