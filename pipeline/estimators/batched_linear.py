"""Many linear heads trained at once: heads that use the same feature columns share one weight matrix.

Letters: b batch, s heads of a group, d features that they use, m columns: k classes, or 1 for two classes and for
regressions.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from icebox.pipeline.data.feature_selection import ColumnRanges

Members = Mapping[int, Any]  # heads by their position among all


class BatchedHead(Protocol):
    """The parameters in which the heads may differ."""

    learning_rate: float
    weight_decay: float
    outputs: list[str] | None


def group_by_outputs(
    heads: Sequence[BatchedHead], column_ranges: ColumnRanges, width: int
) -> tuple[list[tuple[Members, np.ndarray]], str]:
    """Heads of the same outputs, by position, with the feature columns (d,) that they use; and an error message about
    heads whose outputs have no columns, or ""."""
    members_of: dict[tuple[str, ...] | None, dict[int, BatchedHead]] = {}
    for position, head in enumerate(heads):
        outputs = None if head.outputs is None else tuple(sorted(head.outputs))
        members_of.setdefault(outputs, {})[position] = head
    groups: list[tuple[Members, np.ndarray]] = []
    error = ""
    for outputs, members in members_of.items():
        if outputs is None:
            groups.append((members, np.arange(width)))
        elif outputs and column_ranges.keys() >= set(outputs):
            ranges = [np.arange(*ends) for output in set(outputs) for ends in column_ranges[output]]
            groups.append((members, np.sort(np.concatenate(ranges))))
        else:
            available = ", ".join(column_ranges) or "none (with pca they can't be told apart)"
            error = f"outputs: expected some of what the heads see: {available}; found {', '.join(outputs) or 'none'}"
    return groups, error


class LinearGroup:
    """Heads that use the same feature `columns` (d,).

    `points` (d + 1, s·m) are their coefficients divided by their learning rates, the intercepts last, which start as
    `intercepts` (m,). The others start as `start` (d, m), by default 0, and the penalty is on their distance from it.
    """

    def __init__(self, members: Members, columns: np.ndarray, intercepts: Tensor, start: Tensor | None = None) -> None:
        self.members, self.columns, self.m = members, columns, len(intercepts)
        self.rates, self.decays = (
            torch.tensor(values, device=intercepts.device).repeat_interleave(self.m)
            for values in zip(*((float(h.learning_rate), float(h.weight_decay)) for h in members.values()), strict=True)
        )  # (s·m,) each
        points = torch.zeros((len(columns) + 1, len(self.rates)), device=intercepts.device)
        points[-1] = intercepts.repeat(len(members)) / self.rates
        self.start = None if start is None else start.repeat(1, len(members))
        if self.start is not None:
            points[:-1] = self.start / self.rates
        self.points = points.requires_grad_()
        self._columns = torch.from_numpy(columns).to(intercepts.device)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs (b, s, m) for a batch (b, all columns), and the sum of the heads' penalties."""
        if len(self._columns) < features.shape[1]:
            features = features[:, self._columns]
        coefficients = self.points * self.rates
        outputs = torch.addmm(coefficients[-1], features, coefficients[:-1]).view(len(features), -1, self.m)
        moved = coefficients[:-1] if self.start is None else coefficients[:-1] - self.start
        return outputs, (moved.square().sum(0) * self.decays).sum() / 2
