"""A fitted head as a torch module that computes the same scores, preprocessing included: where unfreezing starts.

The preprocessing stays fixed in front of the trainable layers, since a linear layer trains well on scaled features.
"""

from typing import Any

import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.preprocessing import FunctionTransformer, Normalizer, StandardScaler
from torch import Tensor, nn
from torch.nn import functional as F

from icebox.features.errors import IceboxError
from icebox.pipeline.estimators.decision import ThresholdHead
from icebox.pipeline.estimators.preprocessing import PreprocessedHead
from icebox.pipeline.estimators.scaling import OverallScaler


def as_torch(head: Any) -> nn.Sequential:
    """Features (b, d) → scores (b, k), or values (b, 1) of a regression; largest where `head` predicts.

    The scores of logreg and mlp are their logits. Thresholds of labels are left out: a network that is trained on
    gets its own. Raises IceboxError for a head that is neither linear nor an mlp.
    """
    if isinstance(head, ThresholdHead):
        head = head.head
    if not isinstance(head, PreprocessedHead):
        raise IceboxError(f"{type(head).__name__} can't become a torch head; take logreg, ridge, linear_svm or mlp")
    steps = [step_as_torch(step) for _, step in head.preprocess_.steps]
    layers = trainable_layers(head.estimator_)
    if hasattr(head, "targets_"):
        layers[-1] = in_unit_of_targets(layers[-1], head.targets_)
    return nn.Sequential(*steps, *layers)


def in_unit_of_targets(layer: nn.Module, targets: StandardScaler) -> nn.Linear:
    """A last layer that gives standardized values as one that gives them in their own unit."""
    weight, bias = (parameter.detach().double().numpy() for parameter in layer.parameters())
    return linear(weight * targets.scale_[:, None], bias * targets.scale_ + targets.mean_)


def trainable_layers(estimator: Any) -> list[nn.Module]:
    """A linear layer, or an mlp's layers with ReLU and dropout between them."""
    if hasattr(estimator, "layers_"):
        *hidden, last = [linear(weight.T, bias) for weight, bias in estimator.layers_]
        modules = [module for layer in hidden for module in (layer, nn.ReLU(), nn.Dropout(estimator.dropout))]
        return [*modules, last]
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
    """A linear layer with this weight (out, in) and bias (out,)."""
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(np.ascontiguousarray(weight)))
        layer.bias.copy_(torch.from_numpy(np.ascontiguousarray(bias)))
    return layer


def step_as_torch(step: Any) -> nn.Module:
    """One fitted step of the preprocessing. Raises IceboxError for a transformer without a torch form."""
    match step:
        case StandardScaler():
            return Affine(step.mean_, 1 / step.scale_)
        case OverallScaler():
            return Affine(np.zeros(step.n_features_in_), np.full(step.n_features_in_, 1 / step.scale_))
        case Normalizer():
            return UnitLength()
        case FunctionTransformer(func=None):
            return nn.Identity()
        case PCA(whiten=True):
            deviation = np.sqrt(step.explained_variance_)
            deviation = np.maximum(deviation, np.finfo(deviation.dtype).eps)  # 0 where nothing varies, as in PCA
            return Projection(step.mean_, step.components_.T / deviation)
    raise IceboxError(f"{type(step).__name__}: a step of preprocessing that has no torch form")


class Affine(nn.Module):
    """(x - shift) · factor for each feature."""

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
    """Projects x - shift onto r directions, the columns of `factor` (d, r)."""

    def forward(self, x: Tensor) -> Tensor:
        """(b, d) → (b, r)."""
        return (x - self.shift) @ self.factor


class UnitLength(nn.Module):
    """Scales each item to length 1."""

    def forward(self, x: Tensor) -> Tensor:
        """(b, d) → (b, d)."""
        return F.normalize(x, dim=1)
