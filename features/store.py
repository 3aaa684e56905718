"""FeatureStore: read what extraction stored. Rows come through memory maps; nothing is read before it is asked for."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from features import index, shard
from features.errors import IceboxError
from features.plugins import suggestion


class FeatureStore:
    """All features of one dataset through one backbone: n items in manifest order, one array per output."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = folder / index.FILE
        if not path.exists():
            raise IceboxError(f"{folder}: no finished feature store here; run: dvc repro extract@{folder.name}")
        try:
            with h5py.File(path) as file:
                self.item_ids: np.ndarray = file["item_id"].asstr()[:]
                self.labels: np.ndarray = file["label"].asstr()[:]
                self.splits: np.ndarray = file["split"].asstr()[:]
                self.fingerprint = str(file.attrs["fingerprint"])
                self.spec: dict[str, Any] = index.read_json(file, "spec")
                self.skipped: dict[str, str] = index.read_json(file, "skipped")
                self._shard_of: np.ndarray = file["shard"][:]
                self._row_of: np.ndarray = file["row"][:]
                listed = index.read_json(file, "shards")
                self.outputs = tuple(file["features"])
        except (OSError, KeyError) as reason:
            raise IceboxError(
                f"{path}: expected an index, found {reason}; run: dvc repro -f extract@{folder.name}"
            ) from reason
        self._shards = [self._open(entry) for entry in listed]

    def __len__(self) -> int:
        return len(self.item_ids)

    def load(self, *, split: str | None = None, outputs: Sequence[str] | None = None) -> np.ndarray:
        """Features (n, d) of one split or of all, in manifest order; outputs (default: all) laid side by side."""
        items = np.flatnonzero(self.splits == split) if split else np.arange(len(self))
        return self.load_items(items, outputs=outputs)

    def load_items(self, items: np.ndarray, *, outputs: Sequence[str] | None = None) -> np.ndarray:
        """Features (len(items), d) of the items at these positions of the manifest, each output flattened."""
        arrays = [self.rows(items, output) for output in outputs or self.outputs]
        flat = [array.reshape(len(array), math.prod(array.shape[1:])) for array in arrays]
        return flat[0] if len(flat) == 1 else np.concatenate(flat, axis=1)

    def rows(self, items: np.ndarray, output: str) -> np.ndarray:
        """The features (len(items), …) of the items at these positions of the manifest, in the order asked for."""
        if output not in self.outputs:
            raise IceboxError(f"{self.folder}: no output '{output}'; {suggestion(output, list(self.outputs))}")
        first = self._shards[0].arrays[output]
        result = np.empty((len(items), *first.shape[1:]), first.dtype)
        shard_of, row_of = self._shard_of[items], self._row_of[items]
        for number in np.unique(shard_of):
            part = self._shards[number]
            here = np.flatnonzero(shard_of == number)
            result[here] = part.arrays[output].map(part.path)[row_of[here]]
        return result

    def _open(self, entry: dict[str, Any]) -> shard.Shard:
        path = self.folder / entry["name"]
        mend = f"run: dvc repro -f extract@{self.folder.name} (or dvc checkout, or dvc pull)"
        if not path.exists():
            raise IceboxError(f"{path}: this shard of the store is missing; {mend}")
        if (found := path.stat().st_size) != entry["bytes"]:
            raise IceboxError(f"{path}: expected {entry['bytes']:,} bytes, found {found:,}; {mend}")
        return shard.read(path)
