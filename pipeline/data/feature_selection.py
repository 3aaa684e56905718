"""The outputs of a store that are concatenated into a head's input, and the views of an item that the head gets.

Letters: n items, v views, d features.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from icebox.features.joining.joined_store import Block, JoinedStore
from icebox.features.store.feature_store import FeatureStore
from icebox.features.text.pairs import PAIR, PARTS

ColumnRanges = dict[str, list[tuple[int, int]]]  # output → (start, end) of its columns in the head's input


@dataclass(frozen=True)
class FeatureSelection:
    """`outputs` are concatenated. Items of train come once in each of `views`, all others in the first view only."""

    outputs: tuple[str, ...]
    views: tuple[str, ...]

    def load(self, store: FeatureStore, items: np.ndarray, *, every_view: bool) -> np.ndarray:
        """Features (n, d) float32 of the items at these positions; of every view (v·n, d), one view after the other."""
        views = self.views if every_view else self.views[:1]
        arrays = [store.load_items(items, outputs=self.outputs, view=view) for view in views]
        features = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
        return features.astype(np.float32, copy=False)

    def column_ranges(self, store: FeatureStore) -> ColumnRanges:
        """The columns of each output in the features; of pairs, those in each of (u, v, |u − v|, u · v)."""
        if isinstance(store, JoinedStore):
            return store.column_ranges(self.outputs, self.views[0])
        parts = PARTS if self.views[0] == PAIR else 1
        widths = [math.prod(store.row_shape(output)) for output in self.outputs]
        ends = list(itertools.accumulate(widths))
        return {
            output: [(part * ends[-1] + end - width, part * ends[-1] + end) for part in range(parts)]
            for output, width, end in zip(self.outputs, widths, ends, strict=True)
        }

    def blocks(self, store: FeatureStore) -> list[Block] | None:
        """The columns of each member of a joined store, which are scaled apart; of any other store None."""
        return store.blocks(self.outputs, self.views[0]) if isinstance(store, JoinedStore) else None


def select(
    store: FeatureStore, *, outputs: Sequence[str] | None = None, views: Sequence[str] | None = None
) -> FeatureSelection:
    """These outputs and views; by default all outputs in the store's first view, which of pairs is
    (u, v, |u − v|, u · v)."""
    return FeatureSelection(tuple(outputs or store.outputs), tuple(views or [store.default_view]))
