"""Items as the activations where a network's frozen part ends, read from a store: that part is passed once, not once an
epoch."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from features.capture import Inputs
from features.cut import Cut
from features.store import FeatureStore


class FromCut:
    """Stands in for `Prepared`: an item is its position in the store, and its input the stored activation."""

    def __init__(self, cut: Cut, store: FeatureStore, items: np.ndarray, like: Inputs) -> None:
        """`items` are positions in the store's manifest; `like` is what any one item would be called with."""
        self.cut, self.store, self.items, self.like = cut, store, items, like
        (self.output,) = store.outputs

    def __len__(self) -> int:
        return len(self.items)

    def batches(self, order: np.ndarray, size: int) -> Iterator[tuple[np.ndarray, list[int]]]:
        """(positions (b,), positions in the store) in this order, `size` at a time."""
        for start in range(0, len(order), size):
            part = order[start : start + size]
            yield part, self.items[part].tolist()

    def together(self, prepared: Sequence[int]) -> list[list[int]]:
        """Pictures are of one size."""
        return [list(range(len(prepared)))]

    def inputs(self, prepared: Sequence[int]) -> list[Inputs]:
        """The activations, put where the frozen part ends."""
        rows = self.store.rows(np.array(prepared), self.output)
        activations = torch.from_numpy(rows).reshape(len(rows), *self.cut.shape)
        args = tuple(arg[:1].expand(len(rows), *arg.shape[1:]) for arg in self.like.args)
        return [self.cut.inputs(activations.to(self.cut.device), Inputs(args))]
