"""Fitted steps of a head's preprocessing as torch modules, and the alignment of items of another set.

Letters: b batch, d features, r components.
"""

from typing import Any

import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.preprocessing import FunctionTransformer, Normalizer, StandardScaler
from torch import Tensor, nn

from icebox.features.errors import IceboxError
from icebox.pipeline.estimators.alignment import AlignedHead, alignment_map
from icebox.pipeline.estimators.scaling import BlockScaler, OverallScaler
from icebox.pipeline.export.graph.head_modules import Linear


def step_of(step: Any) -> nn.Module:
    """One fitted step of the preprocessing, in float32 as scikit-learn computes it for float32 features."""
    match step:
        case StandardScaler():
            return Scaled(step.mean_, step.scale_)
        case OverallScaler():
            return Scaled(None, np.full(step.n_features_in_, step.scale_))
        case BlockScaler():
            return Blocks(step)
        case Normalizer():
            return UnitLength()
        case FunctionTransformer(func=None):
            return nn.Identity()
        case PCA():
            return Components(step)
    raise IceboxError(f"{type(step).__name__} has no export: a step of preprocessing that an export does not know")


class UnitLength(nn.Module):
    """Each item at length 1."""

    def forward(self, x: Tensor) -> Tensor:
        """(b, d) → (b, d)."""
        lengths = torch.sqrt((x * x).sum(1, keepdim=True))
        return x / torch.where(lengths == 0, torch.ones_like(lengths), lengths)


class Scaled(nn.Module):
    """(x − shift) / scale for each feature, float32."""

    shift: Tensor
    scale: Tensor

    def __init__(self, shift: np.ndarray | None, scale: np.ndarray) -> None:
        super().__init__()
        self.is_shifted = shift is not None
        self.register_buffer("shift", torch.as_tensor(np.zeros(1) if shift is None else shift, dtype=torch.float32))
        self.register_buffer("scale", torch.as_tensor(scale, dtype=torch.float32))

    def forward(self, x: Tensor) -> Tensor:
        """(b, d) → (b, d)."""
        return (x - self.shift if self.is_shifted else x) / self.scale


class Components(nn.Module):
    """Principal components, in float64."""

    def __init__(self, step: PCA) -> None:
        super().__init__()
        components = np.asarray(step.components_, np.float64)
        deviation = np.sqrt(step.explained_variance_) if step.whiten else np.ones(len(components), np.float32)
        deviation = np.maximum(deviation, np.finfo(deviation.dtype).eps)[:, None]  # as PCA does where nothing varies
        mean = np.asarray(step.mean_, np.float64).reshape(-1)
        self.outputs = Linear(components / deviation, -(components @ mean) / deviation[:, 0])

    def forward(self, x: Tensor) -> Tensor:
        """(b, d) → (b, r) float32."""
        components: Tensor = self.outputs(x).float()
        return components


class Blocks(nn.Module):
    """Blocks of columns, each scaled by itself and weighted."""

    def __init__(self, step: BlockScaler) -> None:
        super().__init__()
        self.blocks = [(int(start), int(end)) for start, end in step.blocks]
        self.scalers = nn.ModuleList([step_of(each) for each in step.scalers_])
        weighted = step.scale in ("each", "overall")
        width, count = step.n_features_in_, len(self.blocks)
        self.weights = [float(np.sqrt(width / count / (e - s))) if weighted else 1.0 for s, e in self.blocks]

    def forward(self, x: Tensor) -> Tensor:
        """(b, d) → (b, d)."""
        parts = [
            scaler(x[:, start:end]) * weight
            for scaler, (start, end), weight in zip(self.scalers, self.blocks, self.weights, strict=True)
        ]
        return torch.cat(parts, dim=1)


class Alignment(nn.Module):
    """The alignment to train of items of the target set, in float64."""

    mean: Tensor
    factors: Tensor
    center: Tensor

    def __init__(self, head: AlignedHead) -> None:
        super().__init__()
        factors = alignment_map(head.source, head.target)
        for name, values in (("mean", head.target.mean), ("factors", factors), ("center", head.source.mean)):
            self.register_buffer(name, torch.from_numpy(np.asarray(values, np.float64).copy()))

    def forward(self, x: Tensor) -> Tensor:
        """(b, d) → (b, d) float32."""
        centered = x.double() - self.mean
        moved = centered * self.factors if self.factors.ndim == 1 else centered @ self.factors
        return (moved + self.center).float()
