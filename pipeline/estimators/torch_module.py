"""A torch head with scikit-learn's manners: what an unfrozen network's bundle holds."""

import io
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor, nn


class ModuleHead(BaseEstimator):
    """Is saved with its module as torch saves one: pickled as it is, a module holds the addresses of its tensors, and
    the same training would never give the same file."""

    module: nn.Module

    def __getstate__(self) -> dict[str, Any]:
        saved = io.BytesIO()
        torch.save(self.module, saved)
        return {**super().__getstate__(), "module": saved.getvalue()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        module = torch.load(io.BytesIO(state["module"]), weights_only=False)
        super().__setstate__({**state, "module": module})


class ModuleClassifier(ClassifierMixin, ModuleHead):
    """Already trained: `fit` only notes the classes. `module` takes features (n, d) to scores (n, k)."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def fit(self, X: Any, y: Any) -> Self:
        """Note the classes (k of them in `y`) and the number of features."""
        validate_data(self, X)
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities (n, k)."""
        return probabilities(scores(self, self.module, X))

    def predict(self, X: Any) -> np.ndarray:
        """Classes (n,)."""
        found: np.ndarray = self.classes_[self.predict_proba(X).argmax(1)]
        return found


class ModuleRegressor(RegressorMixin, ModuleHead):
    """Already trained: `fit` only notes the number of features. `module` takes features (n, d) to numbers (n, 1)."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def fit(self, X: Any, y: Any = None) -> Self:
        """Note the number of features."""
        validate_data(self, X)
        self.fitted_ = True
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Numbers (n,)."""
        return scores(self, self.module, X).reshape(-1)


@torch.inference_mode()
def scores(head: BaseEstimator, module: nn.Module, X: Any) -> np.ndarray:
    """(n, d) → (n, k)."""
    check_is_fitted(head)
    X = validate_data(head, X, dtype=np.float32, reset=False)
    found: Tensor = module.eval()(torch.from_numpy(np.ascontiguousarray(X)))
    numbers: np.ndarray = found.numpy()
    return numbers


def probabilities(scores: np.ndarray) -> np.ndarray:
    """Scores (n, k) → their softmax in float64, whose rows sum to 1 as exactly as log loss asks."""
    numbers: np.ndarray = torch.softmax(torch.from_numpy(scores).double(), dim=1).numpy()
    return numbers
