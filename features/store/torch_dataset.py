"""A feature store as torch's DataLoader takes it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.utils.data import Dataset

if TYPE_CHECKING:  # the store imports this file
    from icebox.features.store.feature_store import FeatureStore

Example = tuple[torch.Tensor, int]


class StoreDataset(Dataset[Example]):
    """(features (d,) float32, class number) of some items of a store; `classes` are its labels, sorted.

    A DataLoader fetches a batch at once, and may have any number of workers: each opens its own memory maps.
    """

    def __init__(
        self, store: "FeatureStore", items: np.ndarray, *, outputs: Sequence[str] | None, view: str | None
    ) -> None:
        self.store = store
        self.items = items
        self.outputs = outputs
        self.view = view
        classes, self._numbers = np.unique(store.labels.astype(str), return_inverse=True)
        self.classes: list[str] = classes.tolist()

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, position: int) -> Example:
        return self.__getitems__([position])[0]

    def __getitems__(self, positions: Sequence[int]) -> list[Example]:
        """The examples at these positions, read together."""
        items = self.items[np.asarray(positions, np.int64)]
        features = self.store.load_items(items, outputs=self.outputs, view=self.view)
        return list(
            zip(torch.from_numpy(features.astype(np.float32, copy=False)), self._numbers[items].tolist(), strict=True)
        )
