"""Ragged outputs: one vector for each of an item's tokens, all items end to end in one array.

Letters: n items, t tokens of an item, d features.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

OFFSETS = "offsets/"  # prefix of the array that holds where each item of an output begins


@dataclass(frozen=True)
class Ragged:
    """n arrays (t, d) of differing t: the i-th is `values[offsets[i] : offsets[i + 1]]`. A sequence of these arrays."""

    values: np.ndarray  # (Σt, d)
    offsets: np.ndarray  # (n + 1,) int64

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, item: int) -> np.ndarray:
        if not -len(self) <= item < len(self):
            raise IndexError(item)
        item %= len(self)
        return self.values[self.offsets[item] : self.offsets[item + 1]]

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[item] for item in range(len(self)))

    @property
    def nbytes(self) -> int:
        """Bytes of the values and the offsets."""
        return self.values.nbytes + self.offsets.nbytes


Values = np.ndarray | Ragged  # of one output: (n, …), or n arrays (t, d)


def joined(arrays: Sequence[np.ndarray]) -> Ragged:
    """One or more arrays (t, d) end to end."""
    return Ragged(np.concatenate(arrays), offsets_of([len(array) for array in arrays]))


def offsets_of(lengths: Sequence[int] | np.ndarray) -> np.ndarray:
    """Offsets (n + 1,) of arrays of these lengths, end to end: where each begins, and where the last one ends."""
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])


def flat(values: Values) -> np.ndarray:
    """All vectors of an output in one array, whichever items they belong to."""
    return values.values if isinstance(values, Ragged) else values


class ScatteredRows:
    """n rows of every output, filled in by row number in any order; rows that never are, are zeros, or empty."""

    def __init__(self, n: int) -> None:
        self.n = n
        self._rows: dict[str, np.ndarray | list[np.ndarray]] = {}

    def put(self, numbers: Sequence[int], features: Mapping[str, Values]) -> None:
        """Fill in the rows of these numbers."""
        for output, values in features.items():
            rows = self._rows.get(output)
            if rows is None:
                if isinstance(values, Ragged):
                    rows = [values.values[:0]] * self.n
                else:
                    rows = np.zeros((self.n, *values.shape[1:]), values.dtype)
                self._rows[output] = rows
            if isinstance(rows, list):
                for number, row in zip(numbers, values, strict=True):
                    rows[number] = row
            else:
                rows[numbers] = values

    def features(self) -> dict[str, Values]:
        """{output: its rows}, in the order in which the outputs were first filled in."""
        return {output: joined(rows) if isinstance(rows, list) else rows for output, rows in self._rows.items()}
