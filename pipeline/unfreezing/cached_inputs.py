"""Items whose activations behind a network's frozen part are read from a store: that part is passed once per item, not
once per epoch. Both classes are used in place of `PreparedItems`.

Letters: b batch, t tokens, d features.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from icebox.features.nn.layer_outputs import Inputs
from icebox.features.nn.partial_forward import PartialForward
from icebox.features.store.feature_store import FeatureStore
from icebox.pipeline.unfreezing.inputs import PreparedItems


class CachedImages:
    """Images: an item is its position in the store, its input the stored activation, of one shape for all."""

    def __init__(self, partial_forward: PartialForward, store: FeatureStore, items: np.ndarray, like: Inputs) -> None:
        """`items` (n,) are positions in the store's manifest; `like` are the network's arguments for any one item."""
        self.partial_forward, self.store, self.items, self.like = partial_forward, store, items, like
        (self.output,) = store.outputs

    def __len__(self) -> int:
        return len(self.items)

    def batches(self, order: np.ndarray, size: int) -> Iterator[tuple[np.ndarray, list[int]]]:
        """Yield (positions (b,), positions in the store) in the given order, `size` at a time."""
        for start in range(0, len(order), size):
            batch = order[start : start + size]
            yield batch, self.items[batch].tolist()

    def sub_batches(self, prepared: Sequence[int]) -> list[list[int]]:
        """All items of a batch as one: they have one size."""
        return [list(range(len(prepared)))]

    def inputs(self, prepared: Sequence[int]) -> list[Inputs]:
        """The network's arguments, with the stored activations in place of the frozen part."""
        positions, n = np.array(prepared), len(prepared)
        if self.store.is_ragged(self.output):  # a transformer's patches
            rows = self.store.ragged_rows(positions, self.output).values
        else:
            rows = self.store.rows(positions, self.output)
        activations = torch.from_numpy(rows)
        if rows.ndim == 4:  # a map (b, h, w, d)
            activations = activations.permute(0, 3, 1, 2)
        activations = activations.reshape(n, *self.partial_forward.shape)
        args = tuple(arg[:1].expand(n, *arg.shape[1:]) for arg in self.like.args)
        return [self.partial_forward.inputs(activations.to(self.partial_forward.device), Inputs(args))]


class CachedTexts:
    """Texts: an item is its position in the store and its tokens, which give the mask; its input a vector a token."""

    def __init__(
        self, partial_forward: PartialForward, store: FeatureStore, items: np.ndarray, prepared: PreparedItems
    ) -> None:
        """`items` (n,) are the positions in the store's manifest of the items of `prepared`."""
        self.partial_forward, self.store, self.items, self.prepared = partial_forward, store, items, prepared
        (self.output,) = store.outputs

    def __len__(self) -> int:
        return len(self.items)

    def batches(self, order: np.ndarray, size: int) -> Iterator[tuple[np.ndarray, list[tuple[int, Any]]]]:
        """Yield (positions (b,), (position in the store, tokens) of each item) in the given order, `size` at a time."""
        for positions, tokens in self.prepared.batches(order, size):
            yield positions, list(zip(self.items[positions].tolist(), tokens, strict=True))

    def sub_batches(self, prepared: Sequence[tuple[int, Any]]) -> list[list[int]]:
        """Positions of texts of similar length."""
        return self.prepared.sub_batches([tokens for _, tokens in prepared])

    def inputs(self, prepared: Sequence[tuple[int, Any]]) -> list[Inputs]:
        """The network's arguments, with activations (b, t, d) in place of the frozen part; zeros at masked padding."""
        (like,) = self.prepared.inputs([tokens for _, tokens in prepared])
        stored = self.store.ragged_rows(np.array([position for position, _ in prepared]), self.output)
        assert like.mask is not None
        activations = torch.zeros(*like.mask.shape, stored.values.shape[1], device=self.partial_forward.device)
        activations[like.mask.bool()] = torch.from_numpy(stored.values).to(self.partial_forward.device)
        return [self.partial_forward.inputs(activations, like)]
