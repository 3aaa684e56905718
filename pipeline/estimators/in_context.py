"""Heads that are networks pretrained on tables: train is their context, and nothing is fitted (TabPFN, TabICL).

Their weights and licences are the user's: a file that is here, never a download. A saved head holds its context and the
weights' sha256, not the weights, which may not be handed on; it reads them again from where they lay.
"""

import importlib
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_array, check_is_fitted, check_X_y, column_or_1d

from icebox.features import fingerprint
from icebox.features.errors import IceboxError
from icebox.pipeline.estimators.base import Unsuitable


class InContext(BaseEstimator):
    """`package`.`kind` with `weights` and further `keywords`, on at most so many items, columns and classes."""

    def __init__(
        self,
        package: str,
        kind: str,
        *,
        weights: Path,
        keywords: Mapping[str, Any],
        max_items: int,
        max_columns: int,
        max_classes: int,
    ) -> None:
        self.package = package
        self.kind = kind
        self.weights = weights
        self.keywords = keywords
        self.max_items = max_items
        self.max_columns = max_columns
        self.max_classes = max_classes

    def fit(self, X: Any, y: Any) -> Self:
        """Keep features (n, d) and labels or values (n,) as the context.

        Raises IceboxError where package or weights are missing, and Unsuitable for more than they were made for.
        """
        X, y = self._context(X, y)
        for number, limit, what, way in (
            (len(X), self.max_items, "items to learn from", "take fewer by labels_per_class"),
            (X.shape[1], self.max_columns, "columns", "set pca"),
            (self._number_of_classes(y), self.max_classes, "classes", "take another head"),
        ):
            if number > limit:
                option = f"max_{what.split()[0]}"
                raise Unsuitable(
                    f"{self.package}: takes at most {limit:,} {what}, found {number:,}; {way}, or raise {option} where "
                    "your weights were made for more"
                )
        self.weights_sha256_ = self._sha256()
        self.n_features_in_ = X.shape[1]
        self.X_, self.y_ = X, y
        self._model()
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Classes or values (n,)."""
        predicted: np.ndarray = self._model().predict(self._rows(X))
        return predicted

    def _context(self, X: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
        """Features and labels as arrays that can be a context."""
        X, y = check_X_y(X, y, dtype=(np.float32, np.float64))
        return X, y

    def _number_of_classes(self, y: np.ndarray) -> int:
        return 0

    def _rows(self, X: Any) -> np.ndarray:
        """Features (n, d) of new items."""
        check_is_fitted(self)
        rows: np.ndarray = check_array(X, dtype=(np.float32, np.float64))
        return rows

    def _sha256(self) -> str:
        """The sha256 of the weights. Raises IceboxError where they or the package are missing."""
        if importlib.util.find_spec(self.package) is None:
            raise IceboxError(
                f"{self.package}: needs the package of this name, which is not installed; "
                f"pip install 'icebox[{self.package}]'"
            )
        if not Path(self.weights).is_file():
            raise IceboxError(
                f"{self.package}: weights: found no file {self.weights}; they are never downloaded here: accept their "
                "licence, put them there, or name another file"
            )
        return fingerprint.of_file(Path(self.weights))

    def _model(self) -> Any:
        """The package's estimator with its context, made when it is first needed."""
        if not hasattr(self, "model_"):
            if self._sha256() != self.weights_sha256_:
                raise IceboxError(f"{self.package}: weights: {self.weights} has changed since the head was fitted")
            from icebox.features.nn.devices import default_device  # torch, which the package loads anyway

            family = getattr(importlib.import_module(self.package), self.kind)
            model = family(model_path=str(self.weights), device=default_device(), **self.keywords)
            self.model_ = model.fit(self.X_, self.y_)
        return self.model_

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        return {name: value for name, value in state.items() if name != "model_"}


class InContextClassifier(ClassifierMixin, InContext):
    """Classification, with probabilities."""

    def _context(self, X: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
        X, y = check_X_y(X, y, dtype=(np.float32, np.float64))
        check_classification_targets(y)
        self.classes_, numbers = np.unique(column_or_1d(y), return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"{self.package}: expected two classes or more to learn from, found one class")
        return X, numbers

    def _number_of_classes(self, y: np.ndarray) -> int:
        return len(self.classes_)

    def predict(self, X: Any) -> np.ndarray:
        """Classes (n,)."""
        predicted: np.ndarray = self.classes_[self.predict_proba(X).argmax(1)]
        return predicted

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities (n, k)."""
        probabilities = np.asarray(self._model().predict_proba(self._rows(X)), np.float64)
        normalized: np.ndarray = probabilities / probabilities.sum(axis=1, keepdims=True)
        return normalized


class InContextRegressor(RegressorMixin, InContext):
    """Regression."""


def estimator(package: str, kinds: tuple[str, str], task: str, **parameters: Any) -> InContext:
    """The estimator for a task; `kinds` are the package's classes for classes and for values."""
    if task == "classification":
        return InContextClassifier(package, kinds[0], **parameters)
    return InContextRegressor(package, kinds[1], **parameters)
