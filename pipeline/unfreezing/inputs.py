"""Items decoded and resized (or tokenised) once, kept in memory while they fit there, and else again every epoch."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
from torch import Tensor

from icebox.features.abc.dataset import Content, Pair
from icebox.features.errors import ItemError
from icebox.features.extraction.batch_encoder import unreadable_item
from icebox.features.manifest.examples import Read, content_of
from icebox.features.manifest.manifest import Row
from icebox.features.nn.backbone import NetworkBackbone
from icebox.features.nn.layer_outputs import Inputs

BUDGET_BYTES = 4 << 30
AHEAD = 3  # batches prepared before they are asked for
TOKEN_BYTES = 36  # of a Python integer in a list


class Prepared:
    """What a network takes of each row of a manifest, prepared in threads a few batches ahead."""

    def __init__(
        self,
        rows: Sequence[Row],
        read: Read,
        network: NetworkBackbone,
        pool: ThreadPoolExecutor,
        *,
        siamese: bool = False,
        budget_bytes: int = BUDGET_BYTES,
    ) -> None:
        self.rows, self.read, self.network, self.pool = rows, read, network, pool
        self.siamese = siamese
        self.left_bytes = budget_bytes
        self.kept: dict[int, Any] = {}

    def __len__(self) -> int:
        return len(self.rows)

    def batches(self, order: np.ndarray, size: int) -> Iterator[tuple[np.ndarray, list[Any]]]:
        """(positions (b,), prepared items) of rows in this order, `size` at a time."""
        ahead: deque[tuple[np.ndarray, list[Future[Any]]]] = deque()
        for start in range(0, len(order), size):
            part = order[start : start + size]
            ahead.append((part, [self.pool.submit(self.item, int(i)) for i in part]))
            if len(ahead) > AHEAD:
                positions, futures = ahead.popleft()
                yield positions, [future.result() for future in futures]
        for positions, futures in ahead:
            yield positions, [future.result() for future in futures]

    def inputs(self, prepared: Sequence[Any]) -> list[Inputs]:
        """What the network is called with: once, or for each of a siamese pair's texts."""
        if self.siamese:
            return [self.network.inputs([pair[side] for pair in prepared]) for side in (0, 1)]
        return [self.network.inputs(prepared)]

    def together(self, prepared: Sequence[Any]) -> list[list[int]]:
        """Positions of what best passes together of a batch: texts of about one length, by a pair's longer one."""
        if not self.network.whole_shards:
            return [list(range(len(prepared)))]
        longest = [max(pair, key=bytes_of) for pair in prepared] if self.siamese else prepared
        return [list(rows) for rows in self.network.parts(longest)]

    def item(self, i: int) -> Any:
        """Row i, prepared."""
        if i in self.kept:
            return self.kept[i]
        row = self.rows[i]
        try:
            prepared = self.prepare(content_of(row, self.read))
        except ItemError as reason:
            raise unreadable_item(row.item_id, reason) from reason
        size = sum(map(bytes_of, prepared)) if self.siamese else bytes_of(prepared)
        if size <= self.left_bytes:
            self.left_bytes -= size
            self.kept[i] = prepared
        return prepared

    def prepare(self, content: Content) -> Any:
        """What the network is to be given of an item."""
        if self.siamese and isinstance(content, Pair):
            return self.network.prepare(content.first), self.network.prepare(content.second)
        return self.network.prepare(content)


def bytes_of(prepared: Any) -> int:
    """About what an array, a tensor, or a text's token ids take."""
    if isinstance(prepared, np.ndarray | Tensor):
        return int(prepared.nbytes)
    return TOKEN_BYTES * len(prepared if isinstance(prepared, list) else prepared.ids)
