"""FeatureStore: read what extraction stored. Rows come through memory maps; nothing is read before it is asked for."""

import math
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from features import index, shard
from features.errors import IceboxError
from features.manifest import SPLITS
from features.plugins import suggestion
from features.shard_maps import ShardMaps

if TYPE_CHECKING:  # reading a store must not cost the two seconds of importing torch
    from features.torch_dataset import StoreDataset


class FeatureStore:
    """All features of one dataset through one backbone: n items in manifest order, one array per output.

    May be pickled and handed to worker processes; each opens the memory maps that it touches.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.index = index.read(folder)
        self.outputs = self.index.outputs
        self.fingerprint = self.index.fingerprint
        self.spec = self.index.spec
        self.skipped = self.index.skipped
        self._maps = ShardMaps([(self._present(entry), entry.arrays) for entry in self.index.shards])
        self._dtypes = {
            output: index.common_dtype(entry.arrays[output].dtype for entry in self.index.shards)
            for output in self.outputs
        }

    def __len__(self) -> int:
        return len(self.index.item_ids)

    @cached_property
    def item_ids(self) -> np.ndarray:
        """The items' ids (n,) str, in manifest order."""
        return index.text(self.index.item_ids)

    @cached_property
    def labels(self) -> np.ndarray:
        """Their labels (n,) str."""
        return index.text(self.index.labels)

    @cached_property
    def splits(self) -> np.ndarray:
        """Their splits (n,) str: train, val or test."""
        return index.text(self.index.splits)

    @cached_property
    def shards(self) -> list[shard.Shard]:
        """The shards with the keys of their rows, each opened as HDF5: reading features needs none of that."""
        return [shard.read(self.folder / entry.name) for entry in self.index.shards]

    def load(
        self, *, split: str | None = None, output: str | None = None, outputs: Sequence[str] | None = None
    ) -> np.ndarray:
        """Features of one split or of all, in manifest order.

        `output` names one and gives it in its own shape (n, …); `outputs` (default: all) are flattened and laid side
        by side, (n, d).
        """
        if output is not None:
            if outputs is not None:
                raise IceboxError(
                    "load: expected output= (one, in its own shape) or outputs= (side by side), found both"
                )
            return self.rows(self.items(split), output)
        return self.load_items(self.items(split), outputs=outputs)

    def load_items(self, items: np.ndarray, *, outputs: Sequence[str] | None = None) -> np.ndarray:
        """Features (len(items), d) of the items at these positions of the manifest, each output flattened."""
        arrays = [self.rows(items, output) for output in outputs or self.outputs]
        flat = [array.reshape(len(array), math.prod(array.shape[1:])) for array in arrays]
        return flat[0] if len(flat) == 1 else np.concatenate(flat, axis=1)

    def batches(
        self,
        size: int,
        *,
        split: str | None = None,
        outputs: Sequence[str] | None = None,
        shuffle_seed: int | None = None,
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Stream (features (b, d), positions in the manifest (b,)) of all items or one split's, `size` at a time.

        In manifest order, or shuffled by a seed. The last batch may be smaller.
        """
        if size < 1:
            raise IceboxError(f"batches: expected a size of 1 item or more, found {size}")
        items = self.items(split)
        if shuffle_seed is not None:
            items = np.random.default_rng(shuffle_seed).permutation(items)
        for start in range(0, len(items), size):
            batch = items[start : start + size]
            yield self.load_items(batch, outputs=outputs), batch

    def as_torch(self, *, split: str | None = None, outputs: Sequence[str] | None = None) -> "StoreDataset":
        """A map-style torch Dataset of (features (d,) float32, class number), for a DataLoader with any workers."""
        from features.torch_dataset import StoreDataset

        return StoreDataset(self, self.items(split), outputs)

    def items(self, split: str | None = None) -> np.ndarray:
        """Positions in the manifest (n,) of one split's items, or of all."""
        if split is None:
            return np.arange(len(self))
        if split not in SPLITS:
            raise IceboxError(f"{self.folder}: no split '{split}'; {suggestion(split, list(SPLITS))}")
        return np.flatnonzero(self.index.splits == split.encode())

    def rows(self, items: np.ndarray, output: str) -> np.ndarray:
        """The features (len(items), …) of the items at these positions of the manifest, in the order asked for."""
        result = np.empty((len(items), *self.row_shape(output)), self.dtype(output))
        shard_of, row_of = self.index.shard_of[items], self.index.row_of[items]
        order = np.argsort(shard_of, kind="stable")
        numbers, starts = np.unique(shard_of[order], return_index=True)
        for number, here in zip(numbers, np.split(order, starts)[1:], strict=True):
            array = self._maps.array(number, output)
            rows = row_of[here]
            if consecutive(here) and consecutive(rows):  # a plain copy: three times as fast as picking the rows
                result[here[0] : here[0] + len(here)] = array[rows[0] : rows[0] + len(rows)]
            else:
                result[here] = array[rows]
        return result

    def row_shape(self, output: str) -> tuple[int, ...]:
        """The shape of one item's feature."""
        if output not in self.outputs:
            raise IceboxError(f"{self.folder}: no output '{output}'; {suggestion(output, list(self.outputs))}")
        return self.index.shards[0].arrays[output].shape[1:]

    def dtype(self, output: str) -> np.dtype[Any]:
        """The type that an output is read as."""
        return self._dtypes[output]

    def _present(self, entry: index.Listed) -> Path:
        path = self.folder / entry.name
        mend = f"run: dvc repro -f extract@{self.folder.name} (or dvc checkout, or dvc pull)"
        if not path.exists():
            raise IceboxError(f"{path}: this shard of the store is missing; {mend}")
        if (found := path.stat().st_size) != entry.size_bytes:
            raise IceboxError(f"{path}: expected {entry.size_bytes:,} bytes, found {found:,}; {mend}")
        return path


def consecutive(numbers: np.ndarray) -> bool:
    """Whether each number is the one before plus one."""
    return bool((numbers[1:] - numbers[:-1] == 1).all())
