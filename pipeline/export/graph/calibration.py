"""Calibrated probabilities as torch modules.

Letters: b batch, d features, k classes.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from icebox.pipeline.export.graph.head_modules import Answers

EPSILON = 1e-12  # that scikit-learn adds to probabilities before their logarithm


class Temperature(Answers):
    """Probabilities calibrated by one number."""

    def __init__(self, answers: Answers, beta: float) -> None:
        super().__init__()
        self.answers, self.beta = answers, beta

    def forward(self, x: Tensor) -> Tensor:
        """(b, d) → (b, k)."""
        if self.answers.has_margins:
            logits = self.answers.margins(x)
            if logits.shape[1] == 1:
                logits = torch.cat([-logits, logits], dim=1)
        else:
            logits = torch.log(self.answers(x).double() + EPSILON)
        return torch.softmax(self.beta * logits.double(), dim=1)


class Curve(nn.Module):
    """A curve that is straight between its points, and flat outside of them: SciPy's steps, so that it is flat where
    that is."""

    x: Tensor
    y: Tensor
    slopes: Tensor

    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        super().__init__()
        if len(x) == 1:
            x, y = np.append(x, x + 1), np.append(y, y)
        for name, values in (("x", x), ("y", y)):
            self.register_buffer(name, torch.from_numpy(np.array(values, np.float64)))
        self.register_buffer("slopes", (self.y[1:] - self.y[:-1]) / (self.x[1:] - self.x[:-1]))

    def forward(self, scores: Tensor) -> Tensor:
        """(b, 1) → (b, 1)."""
        clipped = torch.minimum(torch.maximum(scores, self.x[0]), self.x[-1])
        lower = torch.clamp((self.x < clipped).sum(1) - 1, 0, len(self.slopes) - 1)  # (b,)
        values: Tensor = self.slopes[lower] * (clipped[:, 0] - self.x[lower]) + self.y[lower]
        return values[:, None]


class Curves(Answers):
    """Probabilities calibrated by a rising curve for each class."""

    def __init__(self, answers: Answers, curves: Sequence[Curve], classes: int) -> None:
        """`curves`: one of each margin, or class."""
        super().__init__()
        self.answers, self.classes, self.curves = answers, classes, nn.ModuleList(curves)

    def forward(self, x: Tensor) -> Tensor:
        """(b, d) → (b, k)."""
        scores = self.answers.margins(x) if self.answers.has_margins else self.answers(x)
        scores = scores.double()
        if self.classes == 2:
            second = self.curves[0](scores[:, -1:])
            return torch.cat([1 - second, second], dim=1)
        frequencies = torch.cat([curve(scores[:, i : i + 1]) for i, curve in enumerate(self.curves)], dim=1)
        total = frequencies.sum(1, keepdim=True)
        uniform = torch.full_like(frequencies, 1 / self.classes)
        shares = frequencies / torch.where(total > 0, total, torch.ones_like(total))
        return torch.where(total > 0, shares, uniform)
