"""What the heads see of a store: which of its outputs, side by side, and in which views.

Letters: n items, v views, d features.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from icebox.features.store.feature_store import FeatureStore
from icebox.features.text.pairs import PAIR, PARTS

Columns = dict[str, list[tuple[int, int]]]  # output → from where to where it lies


@dataclass(frozen=True)
class Sight:
    """`outputs` are laid side by side. Items of train come once in each of `views`, all others in the first only."""

    outputs: tuple[str, ...]
    views: tuple[str, ...]

    def load(self, store: FeatureStore, items: np.ndarray, *, every_view: bool) -> np.ndarray:
        """Features (n, d) float32 of the items at these positions; of every view (v·n, d), one view after the other."""
        views = self.views if every_view else self.views[:1]
        arrays = [store.load_items(items, outputs=self.outputs, view=view) for view in views]
        features = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
        return features.astype(np.float32, copy=False)

    def columns(self, store: FeatureStore) -> Columns:
        """Where each output lies in the features; of pairs in each of (u, v, |u − v|, u · v)."""
        parts = PARTS if self.views[0] == PAIR else 1
        widths = [math.prod(store.row_shape(output)) for output in self.outputs]
        ends = list(itertools.accumulate(widths))
        return {
            output: [(part * ends[-1] + end - width, part * ends[-1] + end) for part in range(parts)]
            for output, width, end in zip(self.outputs, widths, ends, strict=True)
        }


def of(store: FeatureStore, *, outputs: Sequence[str] | None = None, views: Sequence[str] | None = None) -> Sight:
    """As asked for, or else all outputs in the first view, which of pairs is (u, v, |u − v|, u · v)."""
    return Sight(tuple(outputs or store.outputs), tuple(views or [store.default_view]))
