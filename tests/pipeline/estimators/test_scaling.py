import numpy as np
import pytest
from sklearn.utils.estimator_checks import check_estimator

from icebox.pipeline.estimators.scaling import BlockScaler, OverallScaler, Scale, scaler


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


@pytest.mark.parametrize("scale", ["each", "overall"])
def test_blocks_are_scaled_apart_and_weigh_alike_whatever_their_size_and_width(scale: Scale):
    X = (np.random.default_rng(0).normal(size=(50, 12)) * np.repeat([1e4, 1e-3], [2, 10])).astype(np.float32)
    scaled = BlockScaler([(0, 2), (2, 12)], scale).fit_transform(X)
    assert scaled.dtype == np.float32
    assert scaled[:, :2].var(axis=0).sum() == pytest.approx(6, rel=1e-3)
    assert scaled[:, 2:].var(axis=0).sum() == pytest.approx(6, rel=1e-3)


def test_blocks_have_length_1_each_or_stay():
    X = np.array([[3.0, 4.0, 100.0], [0.0, 2.0, 5.0]])
    assert BlockScaler([(0, 2), (2, 3)], "l2").fit_transform(X).tolist() == [[0.6, 0.8, 1], [0, 1, 1]]
    assert BlockScaler([(0, 2), (2, 3)], "none").fit_transform(X).tolist() == X.tolist()


@pytest.mark.parametrize("scale", ["each", "overall", "l2", "none"])
def test_blocks_fitted_piece_by_piece_are_those_of_the_whole(scale: Scale):
    X = np.random.default_rng(0).normal(size=(60, 5))
    pieces = BlockScaler([(0, 2), (2, 5)], scale)
    for rows in (slice(0, 30), slice(30, 60)):
        pieces.partial_fit(X[rows])
    np.testing.assert_allclose(pieces.transform(X), BlockScaler([(0, 2), (2, 5)], scale).fit_transform(X))
