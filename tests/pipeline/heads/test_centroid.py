import numpy as np
import pytest
from sklearn.datasets import make_blobs
from sklearn.neighbors import NearestCentroid

from icebox.pipeline.heads.centroid import Centroid


@pytest.mark.parametrize("shrink_threshold", [None, 2.0])
def test_it_names_the_classes_that_scikit_learn_does_and_its_probabilities_agree(shrink_threshold):
    X, y = make_blobs(n_samples=200, centers=4, n_features=5, cluster_std=4, random_state=1)
    ours = Centroid(shrink_threshold=shrink_threshold).fit(X, y)
    theirs = NearestCentroid(shrink_threshold=shrink_threshold).fit(X, y)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    np.testing.assert_array_equal(ours.predict(X), ours.predict_proba(X).argmax(axis=1))


def test_its_probabilities_are_those_of_round_gaussians():
    X, y = np.array([[-2.0], [-4.0], [2.0], [4.0]]), [0, 0, 1, 1]  # means -3 and 3, variance 1
    odds = Centroid().fit(X, y).decision_function([[0.5]])
    np.testing.assert_allclose(odds, ((0.5 + 3) ** 2 - (0.5 - 3) ** 2) / 2)
