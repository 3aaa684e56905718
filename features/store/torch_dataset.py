"""A feature store as a map-style torch Dataset."""

from collections.abc import Sequence
from typing import Protocol, Self

import numpy as np
import torch
from torch.utils.data import Dataset

Example = tuple[torch.Tensor, int]


class Store(Protocol):
    """The methods of a FeatureStore that are read from, which is not imported: it makes these datasets itself."""

    @property
    def labels(self) -> np.ndarray:
        """Labels (n,) str."""

    def items(self, split: str | None = None) -> np.ndarray:
        """Positions in the manifest of one split's items, or of all."""

    def load_items(
        self, items: np.ndarray, *, outputs: Sequence[str] | None = None, view: str | None = None
    ) -> np.ndarray:
        """Features (len(items), d)."""


class StoreDataset(Dataset[Example]):
    """(features (d,) float32, class number) of some items of a store; `classes` are its labels, sorted.

    A DataLoader fetches a batch at once, and may have any number of workers: each opens its own memory maps.
    """

    def __init__(self, store: Store, items: np.ndarray, *, outputs: Sequence[str] | None, view: str | None) -> None:
        self.store = store
        self.items = items
        self.outputs = outputs
        self.view = view
        classes, self._class_numbers = np.unique(store.labels.astype(str), return_inverse=True)
        self.classes: list[str] = classes.tolist()

    @classmethod
    def from_store(
        cls,
        store: Store,
        *,
        split: str | None = None,
        outputs: Sequence[str] | None = None,
        view: str | None = None,
    ) -> Self:
        """A dataset of the items of one split, or of all."""
        return cls(store, store.items(split), outputs=outputs, view=view)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, position: int) -> Example:
        return self.__getitems__([position])[0]

    def __getitems__(self, positions: Sequence[int]) -> list[Example]:
        """The examples at these positions, read together."""
        items = self.items[np.asarray(positions, np.int64)]
        features = torch.from_numpy(
            self.store.load_items(items, outputs=self.outputs, view=self.view).astype(np.float32, copy=False)
        )
        return list(zip(features, self._class_numbers[items].tolist(), strict=True))
