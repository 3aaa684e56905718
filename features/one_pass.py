"""One pass of some items through a backbone: prepared in threads, encoded in batches, scattered by their number."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from features import compiled, fingerprint
from features.backbones.base import Backbone
from features.datasets.base import Content
from features.errors import IceboxError, ItemError
from features.manifest import Row

BATCHES_AHEAD = 4

Read = Callable[[str], Content]
Done = Callable[[int], None]


@dataclass
class Seconds:
    """Where the time of a pass went, as its one consumer saw it."""

    waiting: float = 0.0  # for items to be read and prepared
    forward: float = 0.0
    writing: float = 0.0  # for the shard before to be on the disk


class Pass:
    """Items → features, in batches that never cross a shard, prepared in threads a few batches ahead."""

    def __init__(
        self, read: Read, backbone: Backbone, pool: ThreadPoolExecutor, batch_size: int, skip_unreadable: bool
    ) -> None:
        self.read = read
        self.backbone = backbone
        self.pool = pool
        self.batch_size = batch_size
        self.skip_unreadable = skip_unreadable
        self.seconds = Seconds()

    def run(self, rows: Sequence[Row], done: Done) -> tuple[dict[str, np.ndarray], dict[int, str]]:
        """Features {output: (n, …)} of the rows of one shard, and {row: why} where a content can't be read."""
        features: dict[str, np.ndarray] = {}
        errors: dict[int, str] = {}
        for start, batch in self.batches(rows):
            began = time.perf_counter()
            outcomes = [future.result() for future in batch]
            ready = time.perf_counter()
            numbers = [start + i for i, outcome in enumerate(outcomes) if not isinstance(outcome, ItemError)]
            errors |= {start + i: str(outcome) for i, outcome in enumerate(outcomes) if isinstance(outcome, ItemError)}
            good = [outcome for outcome in outcomes if not isinstance(outcome, ItemError)]
            for output, values in self.backbone.encode(good).items() if good else ():
                refuse_non_finite(values, [rows[number] for number in numbers], output, self.backbone)
                if output not in features:
                    features[output] = np.zeros((len(rows), *values.shape[1:]), values.dtype)
                features[output][numbers] = values
            self.seconds.waiting += ready - began
            self.seconds.forward += time.perf_counter() - ready
            done(len(batch))
        return features, errors

    def batches(self, rows: Sequence[Row]) -> Iterator[tuple[int, list[Future[Any]]]]:
        """(first row, prepared items to come) of each batch, with the next few already under way."""
        size = len(rows) if self.backbone.whole_shards else self.batch_size
        ahead: deque[tuple[int, list[Future[Any]]]] = deque()
        try:
            for start in range(0, len(rows), size):
                ahead.append((start, [self.pool.submit(self.prepare, row) for row in rows[start : start + size]]))
                if len(ahead) > BATCHES_AHEAD:
                    yield ahead.popleft()
            yield from ahead
        finally:
            for _, futures in ahead:
                for future in futures:
                    future.cancel()

    def prepare(self, row: Row) -> Any:
        """One item, ready for a batch, or the ItemError that says why it can't be, where those are to be skipped."""
        content = content_of(row, self.read)
        try:
            return self.backbone.prepare(content)
        except ItemError as reason:
            if self.skip_unreadable:
                return reason
            raise unreadable_item(row.item_id, reason) from reason

    def compile(self, rows: Sequence[Row], *, wanted: compiled.Compile, before: bool) -> bool:
        """Compile the backbone where that pays for these rows; returns whether it is compiled now."""
        if wanted == "off" or len(rows) < self.batch_size or self.backbone.whole_shards:
            return False
        outcomes = list(self.pool.map(self.prepare, rows[: self.batch_size]))
        if any(isinstance(outcome, ItemError) for outcome in outcomes) or not outcomes:
            return False
        return compiled.consider(self.backbone, outcomes, items_left=len(rows), wanted=wanted, before=before)

    def rows_within(self, budget_bytes: int, rows: Sequence[Row]) -> int:
        """How many rows of features fit into the budget, found by passing the first item that can be read."""
        for row in rows:
            prepared = self.prepare(row)
            if not isinstance(prepared, ItemError):
                row_bytes = sum(values.nbytes for values in self.backbone.encode([prepared]).values())
                return max(1, budget_bytes // row_bytes)
        return len(rows) or 1


def unreadable_item(item_id: str, reason: object) -> IceboxError:
    """The error for an item that can't be read, with the choices there are."""
    return IceboxError(
        f"item '{item_id}': {reason}; mend or remove it, or set extract.on_error: skip in params.yaml to leave it out"
    )


def content_of(row: Row, read: Read) -> Content:
    """The item's content; raises IceboxError where it is gone or no longer the one in the manifest."""
    again = "run dvc repro again, which will look at the dataset anew"
    try:
        content = read(row.source)
    except OSError as reason:
        raise IceboxError(f"item '{row.item_id}': can't be read any more ({reason}); {again}") from reason
    if fingerprint.of_content(content) != row.item_key:
        raise IceboxError(f"item '{row.item_id}': its content is not what it was when the manifest was made; {again}")
    return content


def refuse_non_finite(values: np.ndarray, rows: Sequence[Row], output: str, backbone: Backbone) -> None:
    """Raise IceboxError, naming the item and the backbone, where a feature is NaN or infinite."""
    finite = np.isfinite(values.reshape(len(values), -1)).all(axis=1)
    if not finite.all():
        row = rows[int(np.flatnonzero(~finite)[0])]
        family = backbone.spec["family"]
        raise IceboxError(
            f"item '{row.item_id}': backbone family '{family}' gave a non-finite value in its output '{output}'; "
            "look at the item and at the weights"
        )
