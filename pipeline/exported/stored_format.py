"""The store's number format as a step of a scikit-learn Pipeline."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

from icebox.features.extraction.precision import Stored, to_storage_dtype


class StoredFormat(TransformerMixin, BaseEstimator):
    """Features (n, d) rounded as a store keeps them: outputs of these `widths`, side by side, each by itself."""

    def __init__(self, stored: Stored = "float16", *, widths: Sequence[int] = ()) -> None:
        self.stored = stored
        self.widths = widths

    def fit(self, X: Any, y: Any = None) -> Self:
        """Nothing is learned."""
        return self

    def transform(self, X: Any) -> np.ndarray:
        """(n, d) float32 → (n, d) float32. An item's numbers do not depend on the others of its batch."""
        outputs = np.split(np.asarray(X, np.float32), np.cumsum(self.widths)[:-1], axis=1)
        rounded = [
            np.stack([to_storage_dtype(row[None], self.stored)[0].astype(np.float32) for row in rows])
            for rows in outputs
        ]
        return np.concatenate(rounded, axis=1)

    def __sklearn_is_fitted__(self) -> bool:
        return True
