"""Items as the activations where a network's frozen part ends, read from a store: that part is passed once, not once an
epoch. Both classes stand in for `Prepared`.

Letters: b batch, t tokens, d features.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from icebox.features.nn.layer_outputs import Inputs
from icebox.features.nn.partial_forward import Cut
from icebox.features.store.feature_store import FeatureStore
from icebox.pipeline.unfreezing.inputs import Prepared


class PicturesFromCut:
    """An item is its position in the store, and its input the stored activation, which is of one shape for all."""

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
        """All of a batch: they are of one size."""
        return [list(range(len(prepared)))]

    def inputs(self, prepared: Sequence[int]) -> list[Inputs]:
        """The activations, put where the frozen part ends."""
        there, n = np.array(prepared), len(prepared)
        ragged = self.store.is_ragged(self.output)  # a transformer's patches
        rows = self.store.ragged_rows(there, self.output).values if ragged else self.store.rows(there, self.output)
        activations = torch.from_numpy(rows).reshape(n, *self.cut.shape)
        args = tuple(arg[:1].expand(n, *arg.shape[1:]) for arg in self.like.args)
        return [self.cut.inputs(activations.to(self.cut.device), Inputs(args))]


class TextsFromCut:
    """An item is its position in the store and its tokens, which say what is masked; its input a vector a token."""

    def __init__(self, cut: Cut, store: FeatureStore, items: np.ndarray, prepared: Prepared) -> None:
        """`items` are the positions in the store's manifest of the items of `prepared`."""
        self.cut, self.store, self.items, self.prepared = cut, store, items, prepared
        (self.output,) = store.outputs

    def __len__(self) -> int:
        return len(self.items)

    def batches(self, order: np.ndarray, size: int) -> Iterator[tuple[np.ndarray, list[tuple[int, Any]]]]:
        """(positions (b,), each item's position in the store and its tokens) in this order, `size` at a time."""
        for positions, tokens in self.prepared.batches(order, size):
            yield positions, list(zip(self.items[positions].tolist(), tokens, strict=True))

    def together(self, prepared: Sequence[tuple[int, Any]]) -> list[list[int]]:
        """Positions of texts of about one length."""
        return self.prepared.together([tokens for _, tokens in prepared])

    def inputs(self, prepared: Sequence[tuple[int, Any]]) -> list[Inputs]:
        """The activations (b, t, d), put where the frozen part ends; zeros where the padding is, which is masked."""
        (like,) = self.prepared.inputs([tokens for _, tokens in prepared])
        found = self.store.ragged_rows(np.array([position for position, _ in prepared]), self.output)
        assert like.mask is not None
        activations = torch.zeros(*like.mask.shape, found.values.shape[1], device=self.cut.device)
        activations[like.mask.bool()] = torch.from_numpy(found.values).to(self.cut.device)
        return [self.cut.inputs(activations, like)]
