"""A trained torch module behind scikit-learn's interface: the head in an unfrozen network's bundle."""

import io
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor, nn

from icebox.pipeline.estimators.classification import SetClassifier, set_columns


class ModuleHead(BaseEstimator):
    """An estimator whose module is pickled in torch's own format.

    Pickled directly, a module holds the addresses of its tensors, and equal trainings would never give equal files.
    """

    module: nn.Module

    def __getstate__(self) -> dict[str, Any]:
        buffer = io.BytesIO()
        torch.save(self.module, buffer)
        return {**super().__getstate__(), "module": buffer.getvalue()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        module = torch.load(io.BytesIO(state["module"]), weights_only=False)
        super().__setstate__({**state, "module": module})


class ModuleClassifier(ClassifierMixin, ModuleHead):
    """A classifier that is trained already: `fit` only notes the classes. `module`: features (n, d) → scores (n, k)."""

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
        predicted: np.ndarray = self.classes_[self.predict_proba(X).argmax(1)]
        return predicted


class ModuleSets(SetClassifier, ModuleHead):
    """A classifier of sets of k labels that is trained already: `fit` only notes k. `module`: (n, d) → (n, k)."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def fit(self, X: Any, y: Any) -> Self:
        """Note the number of labels (k of sets (n, k)) and of features."""
        validate_data(self, X)
        self.n_labels_ = set_columns(y).shape[1]
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities (n, k), each for itself."""
        return label_probabilities(scores(self, self.module, X))


class ModuleRegressor(RegressorMixin, ModuleHead):
    """A regressor that is trained already: `fit` only notes the number of features. `module`: (n, d) → (n, 1)."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def fit(self, X: Any, y: Any = None) -> Self:
        """Note the number of features."""
        validate_data(self, X)
        self.fitted_ = True
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Values (n,)."""
        return scores(self, self.module, X).reshape(-1)


@torch.inference_mode()
def scores(head: BaseEstimator, module: nn.Module, X: Any) -> np.ndarray:
    """The module's outputs: features (n, d) → (n, k)."""
    check_is_fitted(head)
    X = validate_data(head, X, dtype=np.float32, reset=False)
    outputs: Tensor = module.eval()(torch.from_numpy(np.ascontiguousarray(X)))
    array: np.ndarray = outputs.numpy()
    return array


def label_probabilities(scores: np.ndarray) -> np.ndarray:
    """Scores (n, k) → the probability of each label by itself."""
    sigmoid: np.ndarray = torch.sigmoid(torch.from_numpy(scores).double()).numpy()
    return sigmoid


def probabilities(scores: np.ndarray) -> np.ndarray:
    """Scores (n, k) → their softmax in float64, whose rows sum to 1 as exactly as log loss demands."""
    softmax: np.ndarray = torch.softmax(torch.from_numpy(scores).double(), dim=1).numpy()
    return softmax
