"""A support vector machine with a Gaussian kernel: exact for few items, on Nyström features for more."""

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Literal, Self

import numpy as np
from annotated_types import Ge, Gt, Le, Lt
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.kernel_approximation import Nystroem
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC, SVR
from sklearn.utils import gen_batches
from sklearn.utils.validation import check_array, check_is_fitted

from icebox.pipeline.estimators.preprocessing import PreprocessedHead
from icebox.pipeline.heads import linear_svm

SEARCH = {"C": [1.0, 10.0], "gamma": [0.3, 1.0]}  # the grid of an entry without settings
PROBABILITIES = False  # margins: no part of an ensemble, unless they are calibrated
PREDICT_BATCH = 1000  # items: their kernel with all of train is 40 MB of float64 at the most by default


def build(
    *,
    C: Annotated[float, Gt(0), Le(10**12)] = 1.0,
    gamma: Annotated[float, Gt(0), Le(10**12)] = 1.0,
    exact_until: Annotated[int, Ge(0), Le(100_000)] = 5000,
    n_components: Annotated[int, Ge(1), Le(100_000)] = 1000,
    scale: Literal["each", "overall", "l2", "none"] = "each",
    pca: Annotated[int, Ge(1)] | Annotated[float, Gt(0), Lt(1)] | None = None,
    seed: Annotated[int, Ge(0), Lt(2**32)] = 0,
    task: Literal["classification", "regression"] = "classification",
) -> PreprocessedHead:
    """`C`: inverse strength of the penalty. `gamma`: inverse squared width of the kernel, in units of 1/(features ×
    their variance). Past `exact_until` items the kernel is approximated by `n_components` items drawn at random."""
    family = RBFSVMClassifier if task == "classification" else RBFSVMRegressor
    svm = family(C=C, gamma=gamma, exact_until=exact_until, n_components=n_components, random_state=seed)
    return PreprocessedHead(svm, scale=scale, pca=pca)


class RBFSVM(BaseEstimator):
    """`model_` is scikit-learn's SVC or SVR, or else its Nystroem with our linear SVM.

    The exact kernel is one matrix product, which takes 0.3 GB for 5,000 items; libsvm's own, pair by pair, took 4 times
    as long on 512 features and 18 times on 4,096.
    """

    EXACT: Any
    LINEAR: Any

    def __init__(
        self,
        *,
        C: float = 1.0,
        gamma: float = 1.0,
        exact_until: int = 5000,
        n_components: int = 1000,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.C = C
        self.gamma = gamma
        self.exact_until = exact_until
        self.n_components = n_components
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit on features (n, d) and labels or values (n,)."""
        X = check_array(X, dtype=(np.float32, np.float64))
        gamma = self.gamma / ((X.shape[1] * X.var(dtype=np.float64)) or 1.0)
        if len(X) <= self.exact_until:
            kernel = partial(rbf_kernel, gamma=gamma)
            self.model_ = self.EXACT(C=self.C, kernel=kernel).fit(X, y, sample_weight=sample_weight)
            return self
        features = Nystroem(gamma=gamma, n_components=min(self.n_components, len(X)), random_state=self.random_state)
        linear = self.LINEAR(C=self.C)
        linear.fit(features.fit_transform(X), y, sample_weight=sample_weight)
        self.model_ = make_pipeline(features, linear)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Classes or values (n,)."""
        check_is_fitted(self)
        return in_batches(self.model_.predict, X)


def in_batches(predict: Callable[[Any], np.ndarray], X: Any) -> np.ndarray:
    """The results of `predict` for features (n, d), PREDICT_BATCH items at a time."""
    X = check_array(X, dtype=(np.float32, np.float64))
    return np.concatenate([predict(X[rows]) for rows in gen_batches(len(X), PREDICT_BATCH)])


class RBFSVMRegressor(RegressorMixin, RBFSVM):
    """Regression of values in units of their standard deviation, so that a C means the same whatever they measure."""

    EXACT = SVR
    LINEAR = linear_svm.LinearSVMRegressor

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit on features (n, d) and values (n,)."""
        y = check_array(y, ensure_2d=False, dtype=np.float64)
        self.mean_, self.std_ = float(np.mean(y)), float(np.std(y)) or 1.0
        return super().fit(X, (y - self.mean_) / self.std_, sample_weight)

    def predict(self, X: Any) -> np.ndarray:
        """Values (n,)."""
        return super().predict(X) * self.std_ + self.mean_


class RBFSVMClassifier(ClassifierMixin, RBFSVM):
    """Classification by margins, without probabilities."""

    EXACT = SVC
    LINEAR = linear_svm.LinearSVMClassifier

    @property
    def classes_(self) -> np.ndarray:
        """The classes (k,)."""
        classes: np.ndarray = self.model_.classes_
        return classes

    def decision_function(self, X: Any) -> np.ndarray:
        """Margins (n, k); of two classes (n,)."""
        check_is_fitted(self)
        return in_batches(self.model_.decision_function, X)
