"""A feature store as LightGBM's own reader of data that does not fit into memory."""

from collections.abc import Sequence

import lightgbm
import numpy as np

from icebox.features.store.feature_store import FeatureStore


class StoreSequence(lightgbm.Sequence):
    """Features (n, d) of one split of a store, or of all of it, as the data of a `lightgbm.Dataset`.

    float64, as LightGBM demands: it samples rows for its bins, then reads `batch_size` rows at a time.
    """

    batch_size = 4096

    def __init__(
        self,
        store: FeatureStore,
        *,
        split: str | None = None,
        outputs: Sequence[str] | None = None,
        view: str | None = None,
    ) -> None:
        self.store = store
        self.items = store.items(split)
        self.outputs = outputs
        self.view = view
        self.labels: np.ndarray = store.labels[self.items]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, wanted: int | slice | list[int]) -> np.ndarray:
        """One row (d,) at a position in the split, or the rows (m, d) of a slice or list of positions."""
        items = np.atleast_1d(self.items[wanted])
        features = self.store.load_items(items, outputs=self.outputs, view=self.view)
        features = features.astype(np.float64, copy=False)
        return features if isinstance(wanted, slice | list) else features[0]
