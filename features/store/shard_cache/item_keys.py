"""The keys of many rows, 32 bytes each: sha256s, which are written in hex elsewhere."""

from collections.abc import Iterable, Iterator, Sequence
from typing import overload

import numpy as np

KEY_BYTES = 32
DIGEST = np.dtype(f"S{KEY_BYTES}")  # all are of this length, so that zeros at their ends are no matter


class ItemKeys(Sequence[str]):
    """Keys in hex, made when they are asked for, of `digests` (n,) S32."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, digests: np.ndarray) -> None:
        self.digests = digests

    @classmethod
    def of(cls, keys: Iterable[str]) -> "ItemKeys":
        """The keys of these texts in hex. Raises ValueError for one that is no sha256."""
        return cls.of_bytes(bytes.fromhex("".join(keys)))

    @classmethod
    def of_bytes(cls, content: bytes | memoryview) -> "ItemKeys":
        """Keys that lie one behind the other. Raises ValueError for a part of one."""
        return cls(np.frombuffer(content, DIGEST))

    def __len__(self) -> int:
        return len(self.digests)

    @overload
    def __getitem__(self, position: int) -> str: ...
    @overload
    def __getitem__(self, position: slice) -> "ItemKeys": ...
    def __getitem__(self, position: int | slice) -> "str | ItemKeys":
        if isinstance(position, slice):
            return ItemKeys(self.digests[position])
        return self.digests[[position]].tobytes().hex()

    def __iter__(self) -> Iterator[str]:
        text, width = self.digests.tobytes().hex(), 2 * KEY_BYTES
        return (text[start : start + width] for start in range(0, len(text), width))

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, Sequence) else NotImplemented


def prefixes(digests: np.ndarray) -> np.ndarray:
    """The first 8 bytes of each digest (n,) as a number: in their order, and sorted in a tenth of the time."""
    words = np.ascontiguousarray(digests).view(">u8").reshape(-1, KEY_BYTES // 8)
    return words[:, 0].astype(np.uint64)


def unique(digests: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(the distinct digests in order (m,), the position of the first of each (m,), the place of each among them (n,)).

    As `np.unique` gives them, by prefixes: those of different hashes are different but for one in 2^64.
    """
    numbers = prefixes(digests)
    order = np.argsort(numbers, kind="stable")
    numbers = numbers[order]
    new = np.ones(len(digests), bool)
    new[1:] = numbers[1:] != numbers[:-1]
    ranks = np.cumsum(new) - 1
    first = order[new]
    distinct = digests[first]
    again = np.flatnonzero(~new)
    if (digests[order[again]] != distinct[ranks[again]]).any():
        return np.unique(digests, return_index=True, return_inverse=True)
    places = np.empty(len(digests), np.int64)
    places[order] = ranks
    return distinct, first, places
