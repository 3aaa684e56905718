import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.utils.estimator_checks import check_estimator

from icebox.pipeline.heads.logreg import LogReg, build


def correlated(n: int, d: int, classes: int, seed: int = 0):
    """Features of very different sizes that hang together, far from 0: what plain L-BFGS finds hard."""
    random = np.random.default_rng(seed)
    X = random.normal(size=(n, d)) @ random.normal(size=(d, d)) * random.uniform(0.1, 3, d) + random.normal(size=d) * 3
    y = (X @ random.normal(size=(d, classes)) / d + random.normal(size=(n, classes)) * 0.3).argmax(axis=1)
    return X, y, random.uniform(0.2, 3, n)


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize(("n", "d"), [(300, 10), (40, 80)])  # more items than features, and fewer
def test_it_finds_scikit_learns_optimum_for_every_penalty_of_a_path(n, d, classes):
    X, y, weights = correlated(n, d, classes)
    candidates = [{"C": C} for C in (10.0, 0.001, 1.0)]
    for position, ours in LogReg(tol=1e-9).fit_path(X, y, candidates, sample_weight=weights):
        theirs = LogisticRegression(**candidates[position], tol=1e-8, max_iter=20000).fit(X, y, weights)
        np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-3 * np.abs(theirs.coef_).max())
        np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-4)
        np.testing.assert_allclose(ours.decision_function(X), theirs.decision_function(X), rtol=1e-2, atol=1e-2)
        assert candidates[position]["C"] == ours.C
        assert ours.converged_


def test_float32_finds_what_float64_does():
    X, y, _ = correlated(400, 30, 3)
    ours = LogReg(tol=1e-5).fit(X.astype(np.float32), y)
    assert ours.coef_.dtype == ours.predict_proba(X.astype(np.float32)).dtype == np.float32
    theirs = LogisticRegression(tol=1e-8, max_iter=20000).fit(X, y)
    np.testing.assert_allclose(ours.predict_proba(X.astype(np.float32)), theirs.predict_proba(X), atol=2e-3)


def test_a_feature_that_never_varies_and_one_that_repeats_change_nothing():
    X, y, _ = correlated(200, 5, 3)
    more = np.hstack([X, X[:, :1], np.full((200, 1), 5.0)])
    ours = LogReg(tol=1e-9).fit(more, y)
    theirs = LogisticRegression(tol=1e-8, max_iter=20000).fit(more, y)
    np.testing.assert_allclose(ours.predict_proba(more), theirs.predict_proba(more), atol=1e-4)


def test_it_takes_fewer_steps_than_l_bfgs_in_the_features_own_coordinates():
    X, y, _ = correlated(400, 40, 4)
    assert LogReg().fit(X, y).n_iter_ < LogisticRegression(max_iter=20000).fit(X, y).n_iter_[0] / 3


def test_stopping_at_the_limit_is_said():
    X, y, _ = correlated(200, 10, 3)
    with pytest.warns(ConvergenceWarning, match=r"LogReg, C=1\.0: not converged after 3"):
        head = LogReg(max_iter=3, tol=1e-9).fit(X, y)
    assert not head.converged_


def test_the_path_through_its_preprocessing_is_each_fit_alone():
    X, y, _ = correlated(200, 10, 3)
    candidates = [{"C": 1.0}, {"C": 0.01}]
    for position, fitted in build(scale="overall", pca=8, tol=1e-9).fit_path(X, y, candidates):
        alone = build(scale="overall", pca=8, tol=1e-9, **candidates[position]).fit(X, y)
        assert fitted.get_params()["estimator__C"] == candidates[position]["C"]
        np.testing.assert_allclose(fitted.predict_proba(X), alone.predict_proba(X), atol=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_it_passes_scikit_learns_estimator_checks_with_weights():
    check_estimator(LogReg(tol=1e-10))
