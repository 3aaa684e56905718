import numpy as np
import pytest
from sklearn.utils.estimator_checks import check_estimator

from icebox.pipeline.estimators.scaling import OverallScaler, scaler


def test_overall_keeps_proportions_and_zeros():
    X = np.array([[0.0, 2.0], [0.0, -2.0], [4.0, 0.0], [-4.0, 0.0]])
    scaled = OverallScaler().fit_transform(X)  # variances 8 and 2, so their mean is 5
    np.testing.assert_allclose(scaled, X / np.sqrt(5))


def test_each_standardises_every_feature():
    scaled = scaler("each").fit_transform([[0.0, 10.0], [2.0, 30.0]])
    assert scaled.tolist() == [[-1, -1], [1, 1]]


def test_constant_features_survive():
    assert OverallScaler().fit_transform([[3.0], [3.0]]).tolist() == [[3.0], [3.0]]


@pytest.mark.filterwarnings("ignore")
def test_overall_passes_scikit_learns_estimator_checks():
    check_estimator(OverallScaler())


def test_a_feature_that_all_but_never_varies_is_not_blown_up_to_noise():
    X = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    X[:, 2] *= 1e-9
    scaled = scaler("each").fit_transform(X)
    np.testing.assert_allclose(scaled[:, [0, 1, 3]].std(axis=0), 1, rtol=1e-5)
    assert np.abs(scaled[:, 2]).max() < 1e-4
