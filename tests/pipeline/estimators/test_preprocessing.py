import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.datasets import make_blobs
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from icebox.pipeline.estimators.base import fit_keywords, path_parameters
from icebox.pipeline.estimators.preprocessing import PreprocessedHead

X, Y = make_blobs(n_samples=90, centers=3, n_features=6, cluster_std=4, random_state=0)
X = X.astype(np.float32)


class Recorder(ClassifierMixin, BaseEstimator):
    """Keeps the arguments of `fit`."""

    def fit(self, X, y, sample_weight=None, val=None):
        self.classes_ = np.unique(y)
        self.X_, self.weights_, self.val_ = X, sample_weight, val
        return self

    def refit_parameters(self):
        return {"epochs": 3}


@pytest.mark.parametrize(
    ("scale", "pca", "theirs"),
    [
        ("each", None, [StandardScaler()]),
        ("l2", None, [Normalizer()]),
        ("none", None, []),
        ("each", 3, [StandardScaler(), PCA(3, whiten=True)]),
        ("each", 0.9, [StandardScaler(), PCA(0.9, whiten=True)]),
    ],
)
def test_it_predicts_what_scikit_learns_own_pipeline_does(scale, pca, theirs):
    ours = PreprocessedHead(LogisticRegression(), scale=scale, pca=pca).fit(X, Y)
    other = make_pipeline(*theirs, LogisticRegression()).fit(X, Y)
    np.testing.assert_allclose(ours.predict_proba(X), other.predict_proba(X), atol=1e-4)
    assert ours.score(X, Y) == other.score(X, Y)


def test_preprocessing_is_fitted_on_train_and_applied_to_val():
    head = PreprocessedHead(Recorder()).fit([[0.0], [2.0]], [0, 1], sample_weight=[1, 2], val=([[4.0]], [1]))
    assert head.estimator_.X_.tolist() == [[-1], [1]]
    assert head.estimator_.weights_ == [1, 2]
    assert [part.tolist() if isinstance(part, np.ndarray) else part for part in head.estimator_.val_] == [[[3]], [1]]
    assert head.refit_parameters() == {"epochs": 3}


def test_float32_stays_float32_and_the_callers_array_untouched():
    before = X.copy()
    for scale in ("each", "overall", "l2", "none"):
        for pca in (None, 3):
            assert PreprocessedHead(Recorder(), scale=scale, pca=pca).fit(X, Y).estimator_.X_.dtype == np.float32
    np.testing.assert_array_equal(X, before)


@pytest.mark.slow
def test_a_feature_that_never_varies_does_no_harm():
    constant = np.hstack([X, np.full((len(X), 2), 7, np.float32)])
    for scale in ("each", "overall", "l2", "none"):
        for pca in (None, 0.99, 8):
            head = PreprocessedHead(LogisticRegression(max_iter=2000), scale=scale, pca=pca).fit(constant, Y)
            assert np.isfinite(head.estimator_.coef_).all()
            assert head.score(constant, Y) > 0.8


def test_more_components_than_there_are_means_all_of_them():
    assert PreprocessedHead(LogisticRegression(), pca=512).fit(X[:5], Y[:5]).preprocess_[-1].n_components_ == 5


def test_it_says_what_fit_takes():
    assert fit_keywords(PreprocessedHead(Recorder())) == {"sample_weight", "val"} == fit_keywords(Recorder())
    assert fit_keywords(PreprocessedHead(LogisticRegression())) == {"sample_weight"}
    assert fit_keywords(PreprocessedHead(KNeighborsClassifier())) == set()
    assert path_parameters(PreprocessedHead(Recorder())) == ()


def test_it_has_the_methods_of_what_it_wraps_and_no_others():
    assert hasattr(PreprocessedHead(LogisticRegression()), "predict_proba")
    for missing in ("predict_proba", "decision_function", "refit_parameters", "fit_path"):
        assert not hasattr(PreprocessedHead(Ridge()), missing)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("estimator", [LogisticRegression(), Ridge()])
@pytest.mark.slow
def test_it_passes_scikit_learns_estimator_checks(estimator):
    check_estimator(PreprocessedHead(estimator, scale="overall"))
