"""A fitted head as a torch module with the same answers, its preprocessing included: where unfreezing begins.

The preprocessing stays as fixed steps in front of what may learn, since a linear layer on features of one size learns
as it should.
"""

from typing import Any

import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.preprocessing import FunctionTransformer, Normalizer, StandardScaler
from torch import Tensor, nn
from torch.nn import functional as F

from icebox.features.errors import IceboxError
from icebox.pipeline.estimators.preprocessing import Preprocessed
from icebox.pipeline.estimators.scaling import OverallScaler


def as_torch(head: Any) -> nn.Sequential:
    """Features (b, d) → scores (b, k), or values (b, 1) of a regression; largest where `head` predicts.

    Of logreg and mlp the scores are its logits. Raises IceboxError for a head that is neither linear nor an mlp.
    """
    if not isinstance(head, Preprocessed):
        raise IceboxError(f"{type(head).__name__} can't become a torch head; take logreg, ridge, linear_svm or mlp")
    return nn.Sequential(*(step_as_torch(step) for _, step in head.preprocess_.steps), *layers(head.estimator_))


def layers(estimator: Any) -> list[nn.Module]:
    """What may learn: a linear layer, or an mlp's two with what lies between them."""
    if hasattr(estimator, "layers_"):
        *hidden, last = [linear(weight.T, bias) for weight, bias in estimator.layers_]
        between = [part for layer in hidden for part in (layer, nn.ReLU(), nn.Dropout(estimator.dropout))]
        return [*between, last]
    if not hasattr(estimator, "coef_"):
        raise IceboxError(
            f"{type(estimator).__name__} is not linear: expected `start:` to be logreg, ridge, linear_svm, "
            "linear_probe, mlp or fresh"
        )
    weight, bias = np.atleast_2d(estimator.coef_), np.atleast_1d(estimator.intercept_)
    if len(weight) == 1 and hasattr(estimator, "classes_"):  # one margin between two classes: half for, half against
        weight, bias = np.concatenate([-weight / 2, weight / 2]), np.concatenate([-bias / 2, bias / 2])
    return [linear(weight, bias)]


def linear(weight: np.ndarray, bias: np.ndarray) -> nn.Linear:
    """A layer with this weight (out, in) and bias (out,)."""
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(np.ascontiguousarray(weight)))
        layer.bias.copy_(torch.from_numpy(np.ascontiguousarray(bias)))
    return layer


def step_as_torch(step: Any) -> nn.Module:
    """One step of the preprocessing."""
    match step:
        case StandardScaler():
            return Affine(step.mean_, 1 / step.scale_)
        case OverallScaler():
            return Affine(np.zeros(step.n_features_in_), np.full(step.n_features_in_, 1 / step.scale_))
        case Normalizer():
            return Length()
        case FunctionTransformer(func=None):
            return nn.Identity()
        case PCA(whiten=True):
            spread = np.sqrt(step.explained_variance_)
            spread = np.maximum(spread, np.finfo(spread.dtype).eps)  # 0 along what never varies, as PCA itself has it
            return Projection(step.mean_, step.components_.T / spread)
    raise IceboxError(f"{type(step).__name__}: a step of preprocessing that has no torch form")


class Affine(nn.Module):
    """(x - shift) · factor, feature by feature."""

    shift: Tensor
    factor: Tensor

    def __init__(self, shift: np.ndarray, factor: np.ndarray) -> None:
        super().__init__()
        self.register_buffer("shift", torch.as_tensor(shift, dtype=torch.float32))
        self.register_buffer("factor", torch.as_tensor(factor, dtype=torch.float32))

    def forward(self, x: Tensor) -> Tensor:
        """(b, d) → (b, d)."""
        return (x - self.shift) * self.factor


class Projection(Affine):
    """(x - shift) onto fewer directions, the columns of `factor` (d, r)."""

    def forward(self, x: Tensor) -> Tensor:
        """(b, d) → (b, r)."""
        return (x - self.shift) @ self.factor


class Length(nn.Module):
    """Each item to length 1."""

    def forward(self, x: Tensor) -> Tensor:
        """(b, d) → (b, d)."""
        return F.normalize(x, dim=1)
