"""A head with its preprocessing in front: fitted on train alone, and passed by everything else that the head sees."""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Self, TypeVar

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.utils import Tags, get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data

from icebox.pipeline.data.on_disk import DiskFeatures, apply_transform, validate_fit_data
from icebox.pipeline.estimators.scaling import Scale, scaler

F = TypeVar("F", bound=Callable[..., Any])


def accepted(head: Any) -> set[str]:
    """Which of `sample_weight` and `val` (features and labels for early stopping) the head's `fit` takes."""
    inner = head.estimator if isinstance(head, Preprocessed) else head
    return {"sample_weight", "val"} & set(inspect.signature(inner.fit).parameters)


def together(head: Any) -> tuple[str, ...]:
    """The parameters of which the head fits many values in one go, by its `fit_path`; () where it has none."""
    inner = head.estimator if isinstance(head, Preprocessed) else head
    return inner.TOGETHER if hasattr(inner, "fit_path") else ()


def _inner_has(method: str) -> Callable[[F], F]:
    """Decorate what only heads have whose estimator has it."""

    def it_has(head: Any) -> bool:
        return hasattr(head.estimator_ if hasattr(head, "estimator_") else head.estimator, method)

    decorator: Callable[[F], F] = available_if(it_has)
    return decorator


class Preprocessed(BaseEstimator):
    """`estimator` on features (n, d) that were scaled and, with `pca`, projected and whitened.

    `scale`: each | overall | l2 | none, see pipeline/estimators/scaling.py. `pca`: how many components to keep, at most
    as many as there are; or, below 1, the share of variance to be held. Features stay float32 where they are.
    """

    def __init__(self, estimator: Any, *, scale: Scale = "each", pca: float | None = None) -> None:
        self.estimator = estimator
        self.scale = scale
        self.pca = pca

    def fit(self, X: Any, y: Any, **given: Any) -> Self:
        """Fit on features (n, d) and labels (n,). `given`: what `accepted` says; val's features are (m, d) as X is."""
        X, given = self._fit_preprocessing(X, given)
        self.estimator_ = clone(self.estimator).fit(X, y, **given)
        return self

    @_inner_has("fit_path")
    def fit_path(
        self, X: Any, y: Any, settings: Sequence[Mapping[str, Any]], **given: Any
    ) -> Iterator[tuple[int, "Preprocessed"]]:
        """(position, fitted head) of every setting, values of the `together` parameters, in the order they get ready.

        Each is what `fit` with these values finds; the preprocessing, and what else can be shared, is done once.
        """
        X, given = self._fit_preprocessing(X, given)
        for position, estimator in clone(self.estimator).fit_path(X, y, settings, **given):
            head = clone(self).set_params(**{f"estimator__{name}": v for name, v in settings[position].items()})
            head.__dict__ |= {name: v for name, v in self.__dict__.items() if name.endswith("_")}  # n_features_in_ …
            head.estimator_ = estimator
            yield position, head

    def _fit_preprocessing(self, X: Any, given: dict[str, Any]) -> tuple[np.ndarray, dict[str, Any]]:
        X = validate_fit_data(self, X)
        self.preprocess_ = self._steps(X.shape)
        if isinstance(X, DiskFeatures):
            self._fit_by_blocks(X)
            X = X.with_transform(self.preprocess_.transform)
        else:
            X = self.preprocess_.fit_transform(X)
        if "val" in given:
            features, labels = given["val"]
            given = {**given, "val": (apply_transform(features, self.preprocess_.transform), labels)}
        return X, given

    def _fit_by_blocks(self, X: DiskFeatures) -> None:
        """Fit the scaling on rows that stay on disk."""
        if self.pca is not None:
            raise ValueError("pca: needs all features in memory, where they don't fit; leave it out")
        (_, first), *_ = self.preprocess_.steps
        if hasattr(first, "partial_fit"):
            for rows in X.blocks():
                first.partial_fit(X[rows])
        else:
            first.fit(X[:1])  # nothing is learnt from more

    def _steps(self, shape: tuple[int, int]) -> Pipeline:
        steps = [scaler(self.scale)]
        if self.pca is not None:
            if self.pca <= 0 or (self.pca >= 1 and self.pca != int(self.pca)):
                raise ValueError(f"pca: expected a number of components, or a share below 1, found {self.pca}")
            from sklearn.decomposition import PCA  # a tenth of what a fit that needs none takes

            kept = self.pca if self.pca < 1 else min(int(self.pca), *shape)
            steps.append(PCA(kept, whiten=True, random_state=0))
        return make_pipeline(*steps)

    def _preprocessed(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        X = validate_data(self, X, dtype=(np.float32, np.float64), reset=False)
        ready: np.ndarray = self.preprocess_.transform(X)
        return ready

    def predict(self, X: Any) -> np.ndarray:
        """Classes, or values, (n,)."""
        X = self._preprocessed(X)
        predicted: np.ndarray = self.estimator_.predict(X)
        return predicted

    @_inner_has("predict_proba")
    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities (n, k)."""
        X = self._preprocessed(X)
        probabilities: np.ndarray = self.estimator_.predict_proba(X)
        return probabilities

    @_inner_has("decision_function")
    def decision_function(self, X: Any) -> np.ndarray:
        """Margins (n, k); of two classes (n,)."""
        X = self._preprocessed(X)
        margins: np.ndarray = self.estimator_.decision_function(X)
        return margins

    @_inner_has("refit_parameters")
    def refit_parameters(self) -> dict[str, Any]:
        """The parameters of `build` with which a fit without val stops where this one did."""
        found: dict[str, Any] = self.estimator_.refit_parameters()
        return found

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Accuracy, or R² of a regression."""
        X = self._preprocessed(X)
        return float(self.estimator_.score(X, y, sample_weight))

    @property
    def classes_(self) -> np.ndarray:
        """The classes (k,) that the estimator has seen."""
        classes: np.ndarray = self.estimator_.classes_
        return classes

    def __sklearn_tags__(self) -> Tags:
        tags = get_tags(self.estimator)
        tags.input_tags.sparse = tags.input_tags.allow_nan = False
        return tags
