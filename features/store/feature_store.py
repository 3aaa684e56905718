"""FeatureStore: all features of one dataset through one backbone, read lazily through memory maps."""

import math
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from icebox.features.errors import IceboxError, suggestion
from icebox.features.ragged import OFFSETS, Ragged, offsets_of
from icebox.features.splits import SPLITS, in_order
from icebox.features.store import index, shards, virtual_datasets
from icebox.features.store.checksums import Checksums
from icebox.features.store.memory_maps import ShardMaps
from icebox.features.store.targets import FILE as TARGETS
from icebox.features.store.targets import StoredTargets, are_digests
from icebox.features.text.pairs import PAIR, PARTS, TEXTS, combine_pairs_into

if TYPE_CHECKING:  # reading a store must not cost the two seconds of importing torch
    from icebox.features.store.torch_dataset import StoreDataset


PIECE_ITEMS = 4096
PLAIN_BYTES = 1 << 16  # runs of adjacent rows that hold this many bytes on average are copied, others picked from maps


class FeatureStore:
    """All features of one dataset through one backbone: n items in manifest order, one array per output and view.

    Methods with a `view` take the first one by default. Of a store of pairs, whose views are `first` and `second`, the
    default is `pair`: (u, v, |u − v|, u · v) of the two texts' features, computed at reading.

    May be pickled and handed to worker processes; each opens the memory maps that it touches.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.index = index.read(self.folder)
        self.outputs = self.index.outputs
        self.views = self.index.views
        self.default_view = PAIR if self.views == TEXTS else self.views[0]
        self.fingerprint = self.index.fingerprint
        self.spec = self.index.spec
        self.skipped, self.odd = self.index.skipped, self.index.odd
        self._maps = ShardMaps(
            [(self._path_of(entry), entry.arrays) for entry in self.index.shards], Checksums(self.fingerprint)
        )
        self._dtypes = {
            output: virtual_datasets.common_dtype(entry.arrays[output].dtype for entry in self.index.shards)
            for output in self.outputs
        }

    def __len__(self) -> int:
        return self.index.items

    @property
    def digest(self) -> str:
        """The sha256 of all that the store holds: items, labels, splits and shards."""
        return index.digest(self.folder)

    @cached_property
    def item_ids(self) -> np.ndarray:
        """The items' ids (n,) str, in manifest order."""
        return index.decoded_texts(self.index.item_ids)

    @cached_property
    def labels(self) -> np.ndarray:
        """The items' labels (n,) str."""
        return index.decoded_texts(self.index.labels)

    @cached_property
    def splits(self) -> np.ndarray:
        """The items' splits (n,) str: train, val, test or a further test set, test-NAME."""
        return index.decoded_texts(self.index.splits)

    @cached_property
    def groups(self) -> np.ndarray:
        """The items' groups (n,) str: items of one group share a split, and a fold. "" is none."""
        return index.decoded_texts(self.index.groups)

    @cached_property
    def targets(self) -> StoredTargets:
        """The pictures' masks or boxes, of a dataset that has some; by position of the manifest, read when indexed."""
        return StoredTargets(self.folder, self.item_ids, self.labels)

    @property
    def has_targets(self) -> bool:
        """Whether the items have masks or boxes instead of labels, which are then their digests."""
        return (self.folder / TARGETS).exists() or are_digests(self.labels)

    @cached_property
    def shards(self) -> list[shards.Shard]:
        """The shards with the keys of their rows, each opened as HDF5: reading features needs none of that."""
        return [shards.read(self.folder / entry.name) for entry in self.index.shards]

    def load(
        self,
        *,
        split: str | None = None,
        output: str | None = None,
        outputs: Sequence[str] | None = None,
        view: str | None = None,
    ) -> np.ndarray:
        """Features of one split or of all, in manifest order.

        `output` names one and gives it in its own shape (n, …), but flat in view `pair`; `outputs` (default: all) are
        flattened and laid side by side, (n, d).
        """
        if output is not None:
            if outputs is not None:
                raise IceboxError(
                    "load: expected output= (one, in its own shape) or outputs= (side by side), found both"
                )
            if (view or self.default_view) != PAIR:
                return self.rows(self.items(split), output, view=view)
            outputs = [output]
        return self.load_items(self.items(split), outputs=outputs, view=view)

    def load_items(
        self, items: np.ndarray, *, outputs: Sequence[str] | None = None, view: str | None = None
    ) -> np.ndarray:
        """Features (len(items), d) of the items at these positions of the manifest, each output flattened."""
        if (view or self.default_view) == PAIR:
            return self._load_pairs(items, outputs)
        arrays = [self.rows(items, output, view=view) for output in outputs or self.outputs]
        flat = [array.reshape(len(array), math.prod(array.shape[1:])) for array in arrays]
        return flat[0] if len(flat) == 1 else np.concatenate(flat, axis=1)

    def _load_pairs(self, items: np.ndarray, outputs: Sequence[str] | None) -> np.ndarray:
        """Pairs' features (len(items), 4·d) float32, PIECE_ITEMS at a time: the texts' own are never all in memory."""
        if self.views != TEXTS:
            raise self._unknown_view(f"'{PAIR}', which is of texts in pairs")
        width = sum(math.prod(self.row_shape(output)) for output in outputs or self.outputs)
        result = np.empty((len(items), PARTS * width), np.float32)
        for start in range(0, len(items), PIECE_ITEMS):
            piece = items[start : start + PIECE_ITEMS]
            u, v = (self.load_items(piece, outputs=outputs, view=view) for view in TEXTS)
            combine_pairs_into(u, v, result[start : start + PIECE_ITEMS])
        return result

    def ragged(self, output: str, *, split: str | None = None, view: str | None = None) -> Ragged:
        """Tokens' vectors of one split or of all, in manifest order: n arrays (t, d), of as many tokens as each has."""
        return self.ragged_rows(self.items(split), output, view=view)

    def batches(
        self,
        size: int,
        *,
        split: str | None = None,
        outputs: Sequence[str] | None = None,
        view: str | None = None,
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
            yield self.load_items(batch, outputs=outputs, view=view), batch

    def as_torch(
        self, *, split: str | None = None, outputs: Sequence[str] | None = None, view: str | None = None
    ) -> "StoreDataset":
        """A map-style torch Dataset of (features (d,) float32, class number), for a DataLoader with any workers."""
        from icebox.features.store.torch_dataset import StoreDataset

        return StoreDataset.from_store(self, split=split, outputs=outputs, view=view)

    def items(self, split: str | None = None) -> np.ndarray:
        """Positions in the manifest (n,) of one split's items, or of all."""
        if split is None:
            return np.arange(len(self))
        items = np.flatnonzero(self.index.splits == split.encode())
        if not len(items) and split not in SPLITS:
            known = in_order([*SPLITS, *np.unique(self.splits).tolist()])
            raise IceboxError(f"{self.folder}: no split '{split}'; {suggestion(split, known)}")
        return items

    def rows(self, items: np.ndarray, output: str, *, view: str | None = None) -> np.ndarray:
        """Features (len(items), …) of the items at these positions of the manifest, in one of the stored views."""
        if self.is_ragged(output):
            per_item = [name for name in self.outputs if not self.is_ragged(name)]
            raise IceboxError(
                f"{self.folder}: output '{output}' has a vector a token, not one an item; in Python read it with "
                f"store.ragged('{output}')",
                hint="choose other outputs",
                store=self.folder.name,
                outputs=", ".join(per_item or [f"{output.partition(':')[0]}:mean"]),
            )
        result = np.empty((len(items), *self.row_shape(output)), self.dtype(output))
        shard_of, row_of = self._located(items, view)
        self._maps.check(shard_of)
        runs = virtual_datasets.runs(shard_of, row_of, row_of + 1) if len(items) else []
        if result.nbytes >= len(runs) * PLAIN_BYTES:
            for start, stop in runs:
                self._maps.copy(shard_of[start], output, row_of[start], into=result[start:stop])
            return result
        order = np.argsort(shard_of, kind="stable")
        numbers, starts = np.unique(shard_of[order], return_index=True)
        for number, positions in zip(numbers, np.split(order, starts)[1:], strict=True):
            result[positions] = self._maps.array(number, output)[row_of[positions]]
        return result

    def ragged_rows(self, items: np.ndarray, output: str, *, view: str | None = None) -> Ragged:
        """Tokens' vectors of the items at these positions of the manifest, in their order."""
        if not self.is_ragged(output):
            raise IceboxError(f"{self.folder}: output '{output}' has one vector an item; read it with store.load")
        shard_of, starts, stops = self._spans(items, output, view)
        ends = offsets_of(stops - starts)
        result = np.empty((int(ends[-1]), *self.row_shape(output)), self.dtype(output))
        for first, last in virtual_datasets.runs(shard_of, starts, stops) if len(items) else ():
            rows = self._maps.array(shard_of[first], output)[starts[first] : stops[last - 1]]
            result[ends[first] : ends[last]] = rows
        return Ragged(result, ends)

    def token_counts(self, items: np.ndarray, output: str, *, view: str | None = None) -> np.ndarray:
        """The number of vectors (len(items),) of each item."""
        _, starts, stops = self._spans(items, output, view)
        counts: np.ndarray = stops - starts
        return counts

    def _spans(self, items: np.ndarray, output: str, view: str | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of each item's vectors the shard's number, and the first and last + 1 of their positions in it."""
        shard_of, row_of = self._located(items, view)
        self._maps.check(shard_of)
        starts, stops = np.zeros(len(items), np.int64), np.zeros(len(items), np.int64)
        for number in np.unique(shard_of):
            in_shard, offsets = shard_of == number, self._maps.array(number, OFFSETS + output)
            starts[in_shard], stops[in_shard] = offsets[row_of[in_shard]], offsets[row_of[in_shard] + 1]
        return shard_of, starts, stops

    def _located(self, items: np.ndarray, view: str | None) -> tuple[np.ndarray, np.ndarray]:
        """Of each item's row in a stored view (default: the first) the shard's number, and the row in that shard."""
        view = view or self.views[0]
        if view not in self.views:
            raise self._unknown_view(f"'{view}'")
        number = self.views.index(view)
        return self.index.shard_of[number, items], self.index.row_of[number, items]

    def is_ragged(self, output: str) -> bool:
        """Whether an output has a vector a token: read it with `ragged`."""
        self._refuse_unknown(output)
        return OFFSETS + output in self.index.shards[0].arrays

    def release(self) -> None:
        """Close the memory maps, to free the pages that were read; later reads open them anew. For large stores."""
        self._maps.release()

    def row_shape(self, output: str) -> tuple[int, ...]:
        """The shape of one item's feature, or of a token's."""
        self._refuse_unknown(output)
        return self.index.shards[0].arrays[output].shape[1:]

    def dtype(self, output: str) -> np.dtype[Any]:
        """The dtype of an output's features."""
        return self._dtypes[output]

    def _refuse_unknown(self, output: str) -> None:
        if output not in self.outputs:
            raise IceboxError(f"{self.folder}: no output '{output}'; {suggestion(output, list(self.outputs))}")

    def _unknown_view(self, view: str) -> IceboxError:
        return IceboxError(
            f"{self.folder}: no view {view}; known: {', '.join(self.views)}",
            hint="name more views",
            store=self.folder.name,
        )

    def _path_of(self, entry: index.ShardEntry) -> Path:
        """A shard's path. Raises IceboxError where it is missing or of another size."""
        path = self.folder / entry.name
        try:
            size_bytes = path.stat().st_size
        except FileNotFoundError as reason:
            raise self._damaged(f"{path}: this shard of the store is missing") from reason
        except OSError as reason:
            raise shards.unreadable(path, reason) from reason
        if size_bytes != entry.size_bytes:
            raise self._damaged(f"{path}: expected {entry.size_bytes:,} bytes, found {size_bytes:,}")
        return path

    def _damaged(self, message: str) -> IceboxError:
        return IceboxError(message, hint="extract or restore", store=self.folder.name)
