"""The rows of shards in which contents are stored, as numbers: a million of them take megabytes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np

from icebox.features.store.shard_cache import item_keys
from icebox.features.store.shards import Shard


@dataclass(frozen=True)
class RowLocation:
    """The location of one content's row."""

    shard: Shard
    row: int


class Places(Sequence[RowLocation]):
    """The locations of n rows: the number (n,) of each one's shard among `shards`, and its row (n,) there."""

    def __init__(self, shards: Sequence[Shard], shard_of: np.ndarray, row_of: np.ndarray) -> None:
        self.shards, self.shard_of, self.row_of = shards, shard_of, row_of

    @classmethod
    def of(cls, locations: Iterable[RowLocation]) -> "Places":
        """These locations; the same object for what is one."""
        if isinstance(locations, Places):
            return locations
        listed = list(locations)
        shards = list({location.shard.path.name: location.shard for location in listed}.values())
        number = {shard.path.name: i for i, shard in enumerate(shards)}
        shard_of = np.array([number[location.shard.path.name] for location in listed], np.int64)
        return cls(shards, shard_of, np.array([location.row for location in listed], np.int64))

    def __len__(self) -> int:
        return len(self.shard_of)

    @overload
    def __getitem__(self, position: int) -> RowLocation: ...
    @overload
    def __getitem__(self, position: slice) -> "Places": ...
    def __getitem__(self, position: int | slice) -> "RowLocation | Places":
        if isinstance(position, slice):
            return Places(self.shards, self.shard_of[position], self.row_of[position])
        return RowLocation(self.shards[self.shard_of[position]], int(self.row_of[position]))


class LocatedKeys:
    """Where the rows of `keys` (m,) S32, distinct and in order, are stored, as far as shards were added that have them.

    `places.shard_of` is -1 for the others.
    """

    def __init__(self, keys: np.ndarray) -> None:
        self.keys = keys
        self._prefixes = item_keys.prefixes(keys)
        self._told_apart = bool((self._prefixes[1:] != self._prefixes[:-1]).all())  # by prefixes, as hashes are
        self.shards: list[Shard] = []
        self.places = Places(self.shards, np.full(len(keys), -1, np.int32), np.zeros(len(keys), np.int32))

    @property
    def located(self) -> np.ndarray:
        """Whether each key (m,) has a row."""
        mask: np.ndarray = self.places.shard_of >= 0
        return mask

    def new_rows(self, shard: Shard) -> tuple[np.ndarray, np.ndarray] | None:
        """(positions of keys without a row, the rows of the shard that have them); None for none."""
        positions, rows = self._without_row(shard.item_keys.digests)
        return (positions, rows) if len(rows) else None

    def _without_row(self, digests: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(positions of keys without a row, the positions of these keys among the digests)."""
        if not len(self.keys):
            return np.empty(0, np.int64), np.empty(0, np.int64)
        if self._told_apart:
            prefixes = item_keys.prefixes(digests)
            order = np.argsort(prefixes)  # a search in order finds its way through memory
            positions = np.empty(len(digests), np.int64)
            positions[order] = np.searchsorted(self._prefixes, prefixes[order])
        else:
            positions = np.searchsorted(self.keys, digests)
        positions = np.minimum(positions, len(self.keys) - 1)
        rows = np.flatnonzero((self.keys[positions] == digests) & (self.places.shard_of[positions] < 0))
        return positions[rows], rows

    def add(self, shard: Shard, new: tuple[np.ndarray, np.ndarray] | None = None) -> None:
        """Locate the keys without a row that the shard has: its `new_rows`, where they are at hand."""
        if new := new or self.new_rows(shard):
            positions, rows = new
            self.places.shard_of[positions], self.places.row_of[positions] = len(self.shards), rows
        self.shards.append(shard)

    def add_all(self, shards: Sequence[Shard]) -> None:
        """Add those of the shards that have new rows, one after the other, by one search for the keys of all."""
        if not shards:
            return
        backwards = shards[::-1]  # of several with one key the first has it, as that which is set last
        digests = [shard.item_keys.digests for shard in backwards]
        starts = np.cumsum([0, *map(len, digests)])
        positions, rows = self._without_row(np.concatenate(digests))
        row = np.full(len(self.keys), -1, np.int64)
        row[positions] = rows
        new = np.flatnonzero(row >= 0)
        of_shard = np.searchsorted(starts, row[new], side="right") - 1
        used, numbers = np.unique(-of_shard, return_inverse=True)
        self.places.shard_of[new] = len(self.shards) + numbers
        self.places.row_of[new] = row[new] - starts[of_shard]
        self.shards.extend(backwards[-number] for number in used.tolist())
