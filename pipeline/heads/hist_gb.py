"""Gradient-boosted trees of scikit-learn, on features sorted into bins; stops early where there is a val."""

from typing import Annotated, Any, Literal, Self

import numpy as np
from annotated_types import Ge, Gt, Le, Lt
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.utils.validation import check_is_fitted
from threadpoolctl import threadpool_limits

from icebox.pipeline.estimators.classification import class_numbers, of_known_classes
from icebox.pipeline.estimators.preprocessing import PreprocessedHead

SEARCH = {"max_iter": 150}  # the grid of an entry without settings


def build(
    *,
    max_iter: Annotated[int, Ge(1), Le(100_000)] = 200,
    max_leaf_nodes: Annotated[int, Ge(2), Le(100_000)] = 15,
    learning_rate: Annotated[float, Gt(0), Le(10)] = 0.1,
    max_features: Annotated[float, Gt(0), Le(1)] = 0.2,
    max_bins: Annotated[int, Ge(2), Le(255)] = 63,
    min_samples_leaf: Annotated[int, Ge(1), Le(10**9)] = 5,
    n_iter_no_change: Annotated[int, Ge(1), Le(100_000)] = 10,
    scale: Literal["each", "overall", "l2", "none"] = "none",
    pca: Annotated[int, Ge(1)] | Annotated[float, Gt(0), Lt(1)] | None = None,
    seed: Annotated[int, Ge(0), Lt(2**32)] = 0,
    task: Literal["classification", "regression"] = "classification",
) -> PreprocessedHead:
    """`max_iter`: the most trees (for each class); training stops after `n_iter_no_change` of them without a better
    val loss. `max_leaf_nodes`: the most leaves of a tree. `learning_rate`: how much each tree adds. `max_features`:
    the share of features that a split may choose from. `max_bins`: how many bins a feature is sorted into.
    `min_samples_leaf`: the fewest items of a leaf."""
    family = HistGBClassifier if task == "classification" else HistGBRegressor
    boosted = family(
        max_iter=max_iter,
        max_leaf_nodes=max_leaf_nodes,
        learning_rate=learning_rate,
        max_features=max_features,
        max_bins=max_bins,
        min_samples_leaf=min_samples_leaf,
        n_iter_no_change=n_iter_no_change,
        random_state=seed,
    )
    return PreprocessedHead(boosted, scale=scale, pca=pca)


class HistGB(BaseEstimator):
    """scikit-learn's estimator, `model_`, with `val` as an argument of `fit`."""

    FAMILY: Any

    def __init__(
        self,
        *,
        max_iter: int = 200,
        max_leaf_nodes: int = 15,
        learning_rate: float = 0.1,
        max_features: float = 0.2,
        max_bins: int = 63,
        min_samples_leaf: int = 5,
        n_iter_no_change: int = 10,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.max_iter = max_iter
        self.max_leaf_nodes = max_leaf_nodes
        self.learning_rate = learning_rate
        self.max_features = max_features
        self.max_bins = max_bins
        self.min_samples_leaf = min_samples_leaf
        self.n_iter_no_change = n_iter_no_change
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None, val: tuple[Any, Any] | None = None) -> Self:
        """Fit on features (n, d) and labels (n,), watching the loss on `val`'s."""
        model = self.FAMILY(
            max_iter=self.max_iter,
            max_leaf_nodes=self.max_leaf_nodes,
            learning_rate=self.learning_rate,
            max_features=self.max_features,
            max_bins=self.max_bins,
            min_samples_leaf=self.min_samples_leaf,
            early_stopping=val is not None,
            n_iter_no_change=self.n_iter_no_change,
            random_state=self.random_state,
        )
        validation = {} if val is None else {"X_val": val[0], "y_val": val[1]}
        with threadpool_limits(1, user_api="openmp"):  # OpenMP's limit is the thread's own, and fits run in parallel
            self.model_ = model.fit(X, y, sample_weight=sample_weight, **validation)
        self.stopped_ = val is not None
        return self

    def refit_parameters(self) -> dict[str, Any]:
        """The number of trees at which val stopped the fit."""
        return {"max_iter": self.model_.n_iter_} if self.stopped_ else {}

    def predict(self, X: Any) -> np.ndarray:
        """Classes or values (n,)."""
        check_is_fitted(self)
        predicted: np.ndarray = self.model_.predict(X)
        return predicted


class HistGBRegressor(RegressorMixin, HistGB):
    """Values, by squared error."""

    FAMILY = HistGradientBoostingRegressor


class HistGBClassifier(ClassifierMixin, HistGB):
    """Classes, by log loss."""

    FAMILY = HistGradientBoostingClassifier

    def fit(self, X: Any, y: Any, sample_weight: Any = None, val: tuple[Any, Any] | None = None) -> Self:
        """Fit on features (n, d) and labels (n,), watching the loss on those of `val`'s items whose class is known."""
        class_numbers(y)  # of one class scikit-learn's estimator makes two
        return super().fit(X, y, sample_weight, val and of_known_classes(val, y))

    @property
    def classes_(self) -> np.ndarray:
        """The classes (k,)."""
        classes: np.ndarray = self.model_.classes_
        return classes

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities (n, k)."""
        check_is_fitted(self)
        probabilities: np.ndarray = self.model_.predict_proba(X)
        return probabilities
