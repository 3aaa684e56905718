"""Stored features as LightGBM's own reader of data that does not fit into memory."""

from collections.abc import Sequence

import lightgbm
import numpy as np

from icebox.features.store.feature_store import FeatureStore
from icebox.pipeline.data import feature_selection
from icebox.pipeline.data.on_disk import DiskFeatures


class FeatureSequence(lightgbm.Sequence):
    """Features (n, d) that stay on disk, as the data of a `lightgbm.Dataset`.

    float64, as LightGBM demands: it samples rows for its bins, then reads `batch_size` rows at a time.
    """

    batch_size = 4096

    def __init__(self, features: DiskFeatures) -> None:
        self.features = features

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, rows: int | slice | list[int]) -> np.ndarray:
        """One row (d,) at a position, or the rows (m, d) of a slice or list of positions."""
        block = self.features[rows if isinstance(rows, slice) else np.atleast_1d(rows)].astype(np.float64)
        return block if isinstance(rows, slice | list) else block[0]


class StoreSequence(FeatureSequence):
    """One split of a store, or all of it, with its `labels` (n,) as text."""

    def __init__(
        self,
        store: FeatureStore,
        *,
        split: str | None = None,
        outputs: Sequence[str] | None = None,
        view: str | None = None,
    ) -> None:
        selection = feature_selection.select(store, outputs=outputs, views=[view] if view else None)
        super().__init__(DiskFeatures(store, store.items(split), selection))
        self.labels: np.ndarray = store.labels[self.features.items]
