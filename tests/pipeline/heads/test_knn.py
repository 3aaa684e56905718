import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

from icebox.pipeline.heads import knn


@pytest.fixture
def data() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    X, queries = random.normal(size=(300, 20)), random.normal(size=(60, 20))
    queries[:5] = 3 * X[:5]  # at no angle from an item of X
    return X, random.integers(0, 3, 300), queries


@pytest.mark.parametrize("weights", ["uniform", "distance"])
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_probabilities_are_scikit_learns_with_that_metric(data, metric, weights):
    X, y, queries = data
    ours = knn.build(n_neighbors=7, metric=metric, weights=weights, scale="none").fit(X, y)
    theirs = KNeighborsClassifier(7, metric=metric, weights=weights).fit(X, y)
    np.testing.assert_allclose(ours.predict_proba(queries), theirs.predict_proba(queries), atol=1e-6)


def test_values_are_scikit_learns_too(data):
    X, y, queries = data
    ours = knn.build(n_neighbors=3, scale="none", task="regression").fit(X, y)
    theirs = KNeighborsRegressor(3, metric="cosine", weights="distance").fit(X, y)
    np.testing.assert_allclose(ours.predict(queries), theirs.predict(queries), atol=1e-6)
