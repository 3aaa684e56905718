"""A network's inputs, item by item: decoded and resized (or tokenized) once, kept in memory as far as they fit."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from icebox.features.abc.dataset import Content, Pair
from icebox.features.errors import ItemError
from icebox.features.extraction.batch_encoder import unreadable_item
from icebox.features.manifest.manifest import ManifestRow
from icebox.features.manifest.reading import Read, content_of
from icebox.features.nn.backbone import TorchBackbone
from icebox.features.nn.layer_outputs import Inputs

BUDGET_BYTES = 4 << 30
BATCHES_AHEAD = 3  # prepared before they are asked for
TOKEN_BYTES = 36  # of a Python integer in a list


class Items(Protocol):
    """The items of one split, in a form that training takes: `PreparedItems`, `CachedImages` or `CachedTexts`."""

    def __len__(self) -> int: ...

    def batches(self, order: np.ndarray, size: int) -> Iterator[tuple[np.ndarray, list[Any]]]:
        """Yield (positions (b,), prepared items) in the given order, `size` at a time."""

    def sub_batches(self, prepared: Sequence[Any]) -> list[list[int]]:
        """Positions in a batch of items to pass together: a long text would have short ones padded to its length."""

    def inputs(self, prepared: Sequence[Any]) -> list[Inputs]:
        """The network's arguments for these items; of siamese pairs one for each of the two texts."""


class PreparedItems:
    """Rows of a manifest, prepared for a backbone in threads, a few batches ahead."""

    def __init__(
        self,
        rows: Sequence[ManifestRow],
        read: Read,
        backbone: TorchBackbone,
        pool: ThreadPoolExecutor,
        *,
        siamese: bool = False,
        budget_bytes: int = BUDGET_BYTES,
    ) -> None:
        self.rows, self.read, self.backbone, self.pool = rows, read, backbone, pool
        self.siamese = siamese
        self.budget_left_bytes = budget_bytes
        self.cached: dict[int, Any] = {}

    def __len__(self) -> int:
        return len(self.rows)

    def batches(self, order: np.ndarray, size: int) -> Iterator[tuple[np.ndarray, list[Any]]]:
        """Yield (positions (b,), prepared items) of rows in the given order, `size` at a time."""
        pending: deque[tuple[np.ndarray, list[Future[Any]]]] = deque()
        for start in range(0, len(order), size):
            batch = order[start : start + size]
            pending.append((batch, [self.pool.submit(self.item, int(i)) for i in batch]))
            if len(pending) > BATCHES_AHEAD:
                positions, futures = pending.popleft()
                yield positions, [future.result() for future in futures]
        for positions, futures in pending:
            yield positions, [future.result() for future in futures]

    def inputs(self, prepared: Sequence[Any]) -> list[Inputs]:
        """The network's arguments: one, or one for each of a siamese pair's texts."""
        if self.siamese:
            return [self.backbone.inputs([pair[side] for pair in prepared]) for side in (0, 1)]
        return [self.backbone.inputs(prepared)]

    def sub_batches(self, prepared: Sequence[Any]) -> list[list[int]]:
        """Positions of texts of similar length (a pair counts by its longer text); of images all as one."""
        if not self.backbone.whole_shards:
            return [list(range(len(prepared)))]
        longest = [max(pair, key=size_bytes) for pair in prepared] if self.siamese else prepared
        return [list(rows) for rows in self.backbone.sub_batches(longest)]

    def item(self, i: int) -> Any:
        """Row i, prepared. Raises ItemError with the item's id where it can't be read."""
        if i in self.cached:
            return self.cached[i]
        row = self.rows[i]
        try:
            prepared = self.prepare(content_of(row, self.read))
        except ItemError as reason:
            raise unreadable_item(row.item_id, reason) from reason
        size = sum(map(size_bytes, prepared)) if self.siamese else size_bytes(prepared)
        if size <= self.budget_left_bytes:
            self.budget_left_bytes -= size
            self.cached[i] = prepared
        return prepared

    def prepare(self, content: Content) -> Any:
        """Apply the backbone's `prepare`: to both texts of a siamese pair, else to the content."""
        if self.siamese and isinstance(content, Pair):
            return self.backbone.prepare(content.first), self.backbone.prepare(content.second)
        return self.backbone.prepare(content)


def size_bytes(prepared: Any) -> int:
    """The approximate memory of an array, a tensor, or a text's token ids."""
    if isinstance(prepared, np.ndarray | Tensor):
        return int(prepared.nbytes)
    return TOKEN_BYTES * len(prepared if isinstance(prepared, list) else prepared.ids)
