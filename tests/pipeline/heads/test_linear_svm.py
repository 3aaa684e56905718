import numpy as np
import pytest
from sklearn.svm import LinearSVC, LinearSVR
from sklearn.utils.estimator_checks import check_estimator

from icebox.pipeline.heads.linear_svm import LinearSVMClassifier, LinearSVMRegressor

SETTINGS = [{"C": C} for C in (1.0, 0.01)]
FREE = {"intercept_scaling": 100, "tol": 1e-8, "max_iter": 100000}  # so that liblinear's penalty hardly sees intercepts


@pytest.mark.parametrize("classes", [2, 3])
def test_its_margins_are_liblinears(classes):
    random = np.random.default_rng(0)
    X = random.normal(size=(150, 6)) * random.uniform(0.5, 2, 6)
    y = (X[:, :classes] + random.normal(size=(150, classes))).argmax(axis=1)
    weights = random.uniform(0.2, 3, 150)
    for position, ours in LinearSVMClassifier(tol=1e-8).fit_path(X, y, SETTINGS, sample_weight=weights):
        theirs = LinearSVC(**SETTINGS[position], dual=False, **FREE).fit(X, y, weights)
        np.testing.assert_allclose(ours.decision_function(X), theirs.decision_function(X), atol=2e-3)


def test_its_values_are_liblinears():
    random = np.random.default_rng(0)
    X, weights = random.normal(size=(150, 6)) * random.uniform(0.5, 2, 6), random.uniform(0.2, 3, 150)
    y = 5 * (X @ random.normal(size=6) + random.normal(size=150))
    spread = np.sqrt(np.average((y - np.average(y, weights=weights)) ** 2, weights=weights))
    for position, ours in LinearSVMRegressor(tol=1e-8).fit_path(X, y, SETTINGS, sample_weight=weights):
        theirs = LinearSVR(
            **SETTINGS[position], epsilon=0.1, loss="squared_epsilon_insensitive", dual=False, **FREE
        ).fit(X, y / spread, weights)
        np.testing.assert_allclose(ours.predict(X), theirs.predict(X) * spread, atol=0.02)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("estimator", [LinearSVMClassifier(tol=1e-10), LinearSVMRegressor(tol=1e-10)])
def test_it_passes_scikit_learns_estimator_checks_with_weights(estimator):
    check_estimator(estimator)
