"""Encode items with a backbone: prepared in threads, encoded in batches, results scattered by row."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from icebox.features.abc.backbone import Backbone
from icebox.features.errors import IceboxError, ItemError
from icebox.features.extraction import views
from icebox.features.extraction.compilation import PROBE_ITEMS, Compile, compile_if_faster, compile_or_fail, may_pay
from icebox.features.extraction.views import ViewItem
from icebox.features.images import remarks
from icebox.features.manifest.reading import Read, content_of
from icebox.features.ragged import Ragged, ScatteredRows, Values, flat

BATCHES_AHEAD = 4
RAGGED_SAMPLE_ITEMS = 64

ReportDone = Callable[[int], None]  # called with each number of finished rows
PendingFeatures = Callable[[], Mapping[str, Values]]  # waits for a sub-batch's features


@dataclass
class Timings:
    """Where the time of an extraction went, in seconds, as its one consumer saw it; of several, the sum."""

    waiting: float = 0.0  # for items to be read and prepared
    forward: float = 0.0
    writing: float = 0.0  # for the shard before to be on the disk

    def add(self, other: "Timings") -> None:
        """Add those of another consumer."""
        self.waiting += other.waiting
        self.forward += other.forward
        self.writing += other.writing


@dataclass
class Tally:
    """Counts of the items that were encoded, and the time that it took."""

    truncated: int = 0  # whose content was longer than the network takes
    unknown: int = 0  # whose tokens are mostly unknown to the network
    timings: Timings = field(default_factory=Timings)

    def add(self, other: "Tally") -> None:
        """Add those of other items."""
        self.truncated += other.truncated
        self.unknown += other.unknown
        self.timings.add(other.timings)


class BatchEncoder:
    """Items → features, in batches that never cross a shard, prepared in threads a few batches ahead."""

    def __init__(
        self,
        read: Read,
        backbone: Backbone,
        pool: ThreadPoolExecutor,
        batch_size: int,
        skip_unreadable: bool,
        *,
        passes_at_once: int = 1,
    ) -> None:
        """`passes_at_once`: see `Backbone.side_by_side`."""
        self.read = read
        self.backbone = backbone
        self.pool = pool
        self.batch_size = batch_size
        self.skip_unreadable = skip_unreadable
        self.tally = Tally()
        self.passes_at_once = passes_at_once
        self._begun: tuple[Sequence[ViewItem], list[Future[Any]]] = ((), [])  # a shard, and its first batch
        self.odd: dict[str, str] = {}  # key → what the item's decoder complained of, though it was taken

    def take_tally(self) -> Tally:
        """The tally since the last time that it was taken."""
        tally, self.tally = self.tally, Tally()
        return tally

    def encode_shard(
        self, items: Sequence[ViewItem], report_done: ReportDone, *, following: Sequence[ViewItem] = ()
    ) -> tuple[dict[str, Values], dict[int, str]]:
        """n items → their features {output: (n, …)}, and {row: why} where a content can't be read.

        While the network is at the last batch, the first one of the `following` shard is prepared: of texts all.
        """
        features = ScatteredRows(len(items))
        errors: dict[int, str] = {}
        pending: deque[tuple[list[int], PendingFeatures]] = deque()

        def finish_one() -> None:
            rows, wait_for_features = pending.popleft()
            encoded = wait_for_features()
            for output, values in encoded.items():
                refuse_non_finite(values, items, rows, output, self.backbone)
            features.put(rows, encoded)
            report_done(len(rows))

        for start, batch in self.batches(items):
            began = time.perf_counter()
            outcomes = [future.result() for future in batch]
            ready = time.perf_counter()
            if following and start + len(batch) == len(items):
                self._begun = following, self._submit(following[: self._size(following)])
            rows = [start + i for i, outcome in enumerate(outcomes) if not isinstance(outcome, ItemError)]
            prepared = [outcome for outcome in outcomes if not isinstance(outcome, ItemError)]
            self.tally.truncated += sum(self.backbone.was_cut(item) for item in prepared)
            self.tally.unknown += sum(self.backbone.is_mostly_unknown(item) for item in prepared)
            for positions, wait_for_features in self.backbone.begin(prepared) if prepared else ():
                pending.append(([rows[position] for position in positions], wait_for_features))
                if len(pending) > self.passes_at_once:  # on a GPU the one before ran while this one was made ready
                    finish_one()
            unread = {start + i: str(outcome) for i, outcome in enumerate(outcomes) if isinstance(outcome, ItemError)}
            errors |= unread
            if unread:
                report_done(len(unread))
            self.tally.timings.waiting += ready - began
            self.tally.timings.forward += time.perf_counter() - ready
        while pending:
            began = time.perf_counter()
            finish_one()
            self.tally.timings.forward += time.perf_counter() - began
        return features.features(), errors

    def batches(self, items: Sequence[ViewItem]) -> Iterator[tuple[int, list[Future[Any]]]]:
        """Yield (first row, futures of prepared items) of each batch, while the next few are being prepared."""
        size = self._size(items)
        ahead: deque[tuple[int, list[Future[Any]]]] = deque()
        (begun_of, begun), self._begun = self._begun, ((), [])
        try:
            for start in range(0, len(items), size):
                is_begun = start == 0 and begun_of is items
                ahead.append((start, begun if is_begun else self._submit(items[start : start + size])))
                if len(ahead) > BATCHES_AHEAD:
                    yield ahead.popleft()
            yield from ahead
        finally:
            for _, futures in ahead:
                for future in futures:
                    future.cancel()

    def _size(self, items: Sequence[ViewItem]) -> int:
        """The number of items that `begin` is given at once, of a shard of these items."""
        return len(items) if self.backbone.whole_shards else self.batch_size

    def _submit(self, items: Sequence[ViewItem]) -> list[Future[Any]]:
        return [self.pool.submit(self.prepare, item) for item in items]

    def prepare(self, item: ViewItem) -> Any:
        """The item as its view shows it, ready for a batch.

        Where it can't be read: returns the ItemError if unreadable items are skipped, else raises IceboxError.
        """
        content = content_of(item.row, self.read)
        try:
            with remarks.collected() as noted:
                prepared = views.prepare(self.backbone, content, item.view)
            if noted:
                self.odd[item.key] = "; ".join(noted)
            return prepared
        except ItemError as reason:
            if self.skip_unreadable:
                return reason
            raise unreadable_item(item.row.item_id, reason) from reason

    def compile_if_faster(self, items: Sequence[ViewItem], *, wanted: Compile, was_compiled: bool) -> bool:
        """Compile the backbone where that pays for these items; returns whether it is compiled now."""
        if wanted == "off" or len(items) < self.batch_size or self.backbone.whole_shards:
            return False
        outcomes = list(self.pool.map(self.prepare, items[:PROBE_ITEMS]))
        if any(isinstance(outcome, ItemError) for outcome in outcomes):
            return False
        if wanted == "auto" and not was_compiled and not may_pay(self.backbone, outcomes, items_left=len(items)):
            return False
        outcomes += self.pool.map(self.prepare, items[PROBE_ITEMS : self.batch_size])
        if any(isinstance(outcome, ItemError) for outcome in outcomes):
            return False
        return compile_if_faster(
            self.backbone, outcomes, items_left=len(items), wanted=wanted, was_compiled=was_compiled
        )

    def compile_or_fail(self, items: Sequence[ViewItem]) -> bool:
        """Compile the backbone if any of these items can be read, however few there are; returns whether it is."""
        for start in range(0, len(items), self.batch_size):
            outcomes = self.pool.map(self.prepare, items[start : start + self.batch_size])
            if prepared := [outcome for outcome in outcomes if not isinstance(outcome, ItemError)]:
                compile_or_fail(self.backbone, prepared, self.batch_size)
                return True
        return False

    def rows_within(self, budget_bytes: int, missing: Sequence[ViewItem], distinct: Sequence[ViewItem]) -> int:
        """Number of feature rows that fit into the budget, found by encoding the first missing readable item.

        Where rows differ in length, by the mean of the first few of the `distinct` items: a resumed run gets the same.
        """
        for item in missing:
            prepared = self.prepare(item)
            if not isinstance(prepared, ItemError):
                encoded, count = self.backbone.encode([prepared]), 1
                if any(isinstance(values, Ragged) for values in encoded.values()):
                    outcomes = [self.prepare(other) for other in distinct[:RAGGED_SAMPLE_ITEMS]]
                    sample = [outcome for outcome in outcomes if not isinstance(outcome, ItemError)] or [prepared]
                    encoded, count = self.backbone.encode(sample), len(sample)
                return max(1, budget_bytes * count // sum(values.nbytes for values in encoded.values()))
        return len(missing) or 1


def unreadable_item(item_id: str, reason: object) -> IceboxError:
    """The error for an item that can't be read, with the choices there are."""
    return IceboxError(f"item '{item_id}': {reason}; mend or remove it", hint="skip unreadable items")


def refuse_non_finite(
    values: Values, items: Sequence[ViewItem], rows: Sequence[int], output: str, backbone: Backbone
) -> None:
    """Raise IceboxError, naming the item and the backbone, where a feature of the items at these rows is NaN or
    infinite.
    """
    if not np.isfinite(flat(values)).all():  # only now is an item asked for: making one by its row takes 0.2 ms
        row = next(row for row, features in zip(rows, values, strict=True) if not np.isfinite(features).all())
        item_id, family = items[row].row.item_id, backbone.spec["family"]
        raise IceboxError(
            f"item '{item_id}': backbone family '{family}' gave a non-finite value in its output '{output}'; "
            "look at the item and at the weights"
        )
