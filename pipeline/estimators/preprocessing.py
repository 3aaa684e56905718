"""A head with its preprocessing in front: fitted on train alone, applied to all features that the head gets later.

A regression's targets are standardized by train, too: to many estimators a difference of 1e-8 is none, be it a tree's
impurity, a tolerance or float32 beside a mean of 1e9.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Self, TypeVar

import numpy as np
from sklearn.base import BaseEstimator, clone, is_regressor
from sklearn.metrics import r2_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import Tags, get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from icebox.pipeline.data.on_disk import DiskFeatures, apply_transform, is_sets, validate_fit_data
from icebox.pipeline.estimators.classification import of_known_classes
from icebox.pipeline.estimators.scaling import Blocks, BlockScaler, Scale, scaler

F = TypeVar("F", bound=Callable[..., Any])


def _available_if_estimator_has(method: str) -> Callable[[F], F]:
    """Decorator of a method that a head has only where its estimator has it."""

    def has_method(head: Any) -> bool:
        return hasattr(head.estimator_ if hasattr(head, "estimator_") else head.estimator, method)

    decorator: Callable[[F], F] = available_if(has_method)
    return decorator


def columns(values: Any) -> np.ndarray:
    """Values (n,) or (n, m) as float64 columns (n, m)."""
    return np.asarray(values, dtype=np.float64).reshape(len(values), -1)


class PreprocessedHead(BaseEstimator):
    """`estimator` on features (n, d) that were scaled and, with `pca`, projected and whitened.

    `scale`: each | overall | l2 | none, see pipeline/estimators/scaling.py. `pca`: how many components to keep, at most
    as many as there are; or, below 1, the share of variance to keep. float32 features stay float32. `blocks` of columns
    (first, last + 1), those of joined stores, are scaled each by itself (`BlockScaler`).

    A regressor sees its targets with mean 0 and variance 1, and `predict` gives values in their unit (`targets_` is the
    scaler). A classifier's `val` is without the items of classes that its labels lack, of which it can learn nothing.
    """

    def __init__(
        self, estimator: Any, *, scale: Scale = "each", pca: float | None = None, blocks: Blocks | None = None
    ) -> None:
        self.estimator = estimator
        self.scale = scale
        self.pca = pca
        self.blocks = blocks

    def fit(self, X: Any, y: Any, **fit_params: Any) -> Self:
        """Fit on features (n, d) and labels (n,). `fit_params`: of `sample_weight` (n,) and `val` (features (m, d),
        labels (m,)) those that the estimator takes (`base.fit_keywords`)."""
        X, y, fit_params = self._fit_preprocessing(X, y, fit_params)
        self.estimator_ = clone(self.estimator).fit(X, y, **fit_params)
        return self

    @_available_if_estimator_has("fit_path")
    def fit_path(
        self, X: Any, y: Any, candidates: Sequence[Mapping[str, Any]], **fit_params: Any
    ) -> Iterator[tuple[int, "PreprocessedHead"]]:
        """(position, fitted head) of every candidate, values of `base.path_parameters`, in the order they get ready.

        Each equals the result of `fit` with these values; the preprocessing, and all else that can be shared, is done
        once.
        """
        X, y, fit_params = self._fit_preprocessing(X, y, fit_params)
        for position, estimator in clone(self.estimator).fit_path(X, y, candidates, **fit_params):
            head = clone(self).set_params(**{f"estimator__{name}": v for name, v in candidates[position].items()})
            head.__dict__ |= {name: v for name, v in self.__dict__.items() if name.endswith("_")}  # n_features_in_ …
            head.estimator_ = estimator
            yield position, head

    def _fit_preprocessing(self, X: Any, y: Any, fit_params: dict[str, Any]) -> tuple[np.ndarray, Any, dict[str, Any]]:
        """Fit scaling and PCA, and the scaling of targets; returns X, y and the parameters, val among them, as the
        estimator sees them."""
        X = validate_fit_data(self, X)
        self.preprocess_ = self._steps(X.shape)
        if isinstance(X, DiskFeatures):
            self._fit_by_blocks(X)
            X = X.with_transform(self.preprocess_.transform)
        else:
            X = self.preprocess_.fit_transform(X)
        regression = is_regressor(self.estimator) and y is not None  # of None the estimator says what it thinks
        if regression:
            y = check_array(y, ensure_2d=False, dtype=np.float64)
            self.targets_ = StandardScaler().fit(columns(y))
        val = fit_params.pop("val", None)
        if val is not None and not regression and not is_sets(y):
            val = of_known_classes(val, y)
        if val is not None:
            features, labels = apply_transform(val[0], self.preprocess_.transform), val[1]
            fit_params["val"] = features, self._standardized(labels) if regression else labels
        return X, self._standardized(y) if regression else y, fit_params

    def _standardized(self, y: Any) -> np.ndarray:
        """A regression's values as the estimator sees them."""
        targets: np.ndarray = self.targets_.transform(columns(y)).reshape(np.shape(y))
        return targets

    def _fit_by_blocks(self, X: DiskFeatures) -> None:
        """Fit the scaling on rows that stay on disk."""
        if self.pca is not None:
            raise ValueError("pca: needs all features in memory, where they don't fit; leave it out")
        (_, first), *_ = self.preprocess_.steps
        if hasattr(first, "partial_fit"):
            for rows in X.blocks():
                first.partial_fit(X[rows])
        else:
            first.fit(X[:1])  # this scaling has no statistics of the data

    def _steps(self, shape: tuple[int, int]) -> Pipeline:
        """The unfitted steps for features of this shape."""
        steps = [scaler(self.scale) if self.blocks is None else BlockScaler(self.blocks, self.scale)]
        if self.pca is not None:
            if self.pca <= 0 or (self.pca >= 1 and self.pca != int(self.pca)):
                raise ValueError(f"pca: expected a number of components, or a share below 1, found {self.pca}")
            from sklearn.decomposition import PCA  # its import takes a tenth of the time of a fit without it

            kept = self.pca if self.pca < 1 else min(int(self.pca), *shape)
            steps.append(PCA(kept, whiten=True, random_state=0))
        return make_pipeline(*steps)

    def _preprocess(self, X: Any) -> np.ndarray:
        """Features (n, d) → (n, d), or (n, components)."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=(np.float32, np.float64), reset=False)
        transformed: np.ndarray = self.preprocess_.transform(X)
        return transformed

    def predict(self, X: Any) -> np.ndarray:
        """Classes, or values, (n,)."""
        X = self._preprocess(X)
        predicted: np.ndarray = self.estimator_.predict(X)
        if hasattr(self, "targets_"):
            predicted = self.targets_.inverse_transform(columns(predicted)).reshape(predicted.shape)
        return predicted

    @_available_if_estimator_has("predict_proba")
    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities (n, k)."""
        X = self._preprocess(X)
        probabilities: np.ndarray = self.estimator_.predict_proba(X)
        return probabilities

    @_available_if_estimator_has("decision_function")
    def decision_function(self, X: Any) -> np.ndarray:
        """Margins (n, k); of two classes (n,)."""
        X = self._preprocess(X)
        margins: np.ndarray = self.estimator_.decision_function(X)
        return margins

    @_available_if_estimator_has("refit_parameters")
    def refit_parameters(self) -> dict[str, Any]:
        """The keywords of `build` with which a fit without val stops where this one did."""
        parameters: dict[str, Any] = self.estimator_.refit_parameters()
        return parameters

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Accuracy, or R² of a regression."""
        if hasattr(self, "targets_"):
            return float(r2_score(y, self.predict(X), sample_weight=sample_weight))
        X = self._preprocess(X)
        return float(self.estimator_.score(X, y, sample_weight))

    @property
    def classes_(self) -> np.ndarray:
        """The classes (k,) of the labels in `fit`."""
        classes: np.ndarray = self.estimator_.classes_
        return classes

    def __sklearn_tags__(self) -> Tags:
        tags = get_tags(self.estimator)
        tags.input_tags.sparse = tags.input_tags.allow_nan = False
        return tags
