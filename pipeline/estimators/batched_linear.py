"""Linear heads trained side by side: those that see the same of the features are one matrix.

Letters: b batch, s settings, d features that they see, m columns: k classes, or 1 for two classes and for values.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

Members = Mapping[int, Any]  # heads by their position among all


class Head(Protocol):
    """What a setting is made of."""

    learning_rate: float
    weight_decay: float
    outputs: list[str] | None


def alike(
    heads: Sequence[Head], columns: Mapping[str, list[tuple[int, int]]], width: int
) -> tuple[list[tuple[Members, np.ndarray]], str]:
    """Heads of the same outputs, by position, with the columns (d,) they see of the features; and what is wrong with
    those that name outputs without columns, or nothing."""
    found: dict[tuple[str, ...] | None, dict[int, Head]] = {}
    for position, head in enumerate(heads):
        found.setdefault(None if head.outputs is None else tuple(sorted(head.outputs)), {})[position] = head
    groups: list[tuple[Members, np.ndarray]] = []
    unknown = ""
    for outputs, members in found.items():
        if outputs is None:
            groups.append((members, np.arange(width)))
        elif outputs and columns.keys() >= set(outputs):
            ranges = [np.arange(*ends) for output in set(outputs) for ends in columns[output]]
            groups.append((members, np.sort(np.concatenate(ranges))))
        else:
            there = ", ".join(columns) or "none (with pca they can't be told apart)"
            unknown = f"outputs: expected some of what the heads see: {there}; found {', '.join(outputs) or 'none'}"
    return groups, unknown


class Block:
    """Heads that see the same columns `seen` (d,). `points` (d + 1, s·m) are their coefficients over their rates, the
    intercepts last, which begin as `intercepts` (m,)."""

    def __init__(self, members: Members, seen: np.ndarray, intercepts: Tensor) -> None:
        self.members, self.seen, self.m = members, seen, len(intercepts)
        self.rates, self.decays = (
            torch.tensor(values, device=intercepts.device).repeat_interleave(self.m)
            for values in zip(*((float(h.learning_rate), float(h.weight_decay)) for h in members.values()), strict=True)
        )  # (s·m,) each
        points = torch.zeros((len(seen) + 1, len(self.rates)), device=intercepts.device)
        points[-1] = intercepts.repeat(len(members)) / self.rates
        self.points = points.requires_grad_()
        self._columns = torch.from_numpy(seen).to(intercepts.device)

    def said(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """What they say (b, s, m) of a batch (b, all columns), and the sum of their penalties."""
        if len(self._columns) < features.shape[1]:
            features = features[:, self._columns]
        weighted = self.points * self.rates
        said = torch.addmm(weighted[-1], features, weighted[:-1]).view(len(features), -1, self.m)
        return said, (weighted[:-1].square().sum(0) * self.decays).sum() / 2
