import numpy as np
import pytest
from sklearn.linear_model import Ridge, RidgeClassifier
from sklearn.utils.estimator_checks import check_estimator

from icebox.pipeline.heads import ridge

ALPHAS = [{"alpha": alpha} for alpha in (0.01, 1.0, 100.0)]


@pytest.mark.parametrize(("n", "d"), [(100, 8), (20, 50)])  # more items than features, and fewer
def test_every_alpha_of_one_decomposition_is_scikit_learns_ridge(n, d):
    random = np.random.default_rng(0)
    X, weights = random.normal(size=(n, d)) * random.uniform(0.1, 3, d) + 2, random.uniform(0.2, 3, n)
    y = X @ random.normal(size=d) + random.normal(size=n) + 7
    for position, ours in ridge.RidgeRegressor().fit_path(X, y, ALPHAS, sample_weight=weights):
        theirs = Ridge(**ALPHAS[position]).fit(X, y, weights)
        np.testing.assert_allclose(ours.coef_[0], theirs.coef_, atol=1e-9)
        np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-8)


@pytest.mark.parametrize("classes", [2, 3])
def test_its_margins_are_scikit_learns(classes):
    random = np.random.default_rng(0)
    X, y = random.normal(size=(90, 6)), np.array(list("abc"))[random.integers(0, classes, 90)]
    weights = random.uniform(0.2, 3, 90)
    for position, ours in ridge.RidgeClassifier().fit_path(X, y, ALPHAS, sample_weight=weights):
        theirs = RidgeClassifier(**ALPHAS[position]).fit(X, y, weights)
        np.testing.assert_allclose(ours.decision_function(X), theirs.decision_function(X), atol=1e-9)
        assert ours.predict(X).tolist() == theirs.predict(X).tolist()


def test_float32_is_as_good():
    random = np.random.default_rng(0)
    X = random.normal(size=(5000, 40)) @ random.normal(size=(40, 40)) + 10
    y = X @ random.normal(size=40) + random.normal(size=5000)
    ours = ridge.RidgeRegressor(alpha=10).fit(X.astype(np.float32), y)
    np.testing.assert_allclose(ours.coef_[0], Ridge(alpha=10).fit(X, y).coef_, atol=2e-3)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("estimator", [ridge.RidgeRegressor(), ridge.RidgeClassifier()])
def test_it_passes_scikit_learns_estimator_checks_with_weights(estimator):
    check_estimator(estimator)
