"""One pass of some items through a backbone: prepared in threads, encoded in batches, scattered by their number."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from icebox.features.abc.backbone import Backbone
from icebox.features.errors import IceboxError, ItemError
from icebox.features.extraction import compilation, views
from icebox.features.extraction.views import ViewItem
from icebox.features.manifest.reading import Read, content_of
from icebox.features.ragged import Ragged, ScatteredRows, Values, flat

BATCHES_AHEAD = 4
RAGGED_SAMPLE_ITEMS = 64  # units

ReportDone = Callable[[int], None]
PendingFeatures = Callable[[], Mapping[str, Values]]


@dataclass
class Timings:
    """Where the time of a pass went, as its one consumer saw it."""

    waiting: float = 0.0  # for items to be read and prepared
    forward: float = 0.0
    writing: float = 0.0  # for the shard before to be on the disk


class BatchEncoder:
    """Units → features, in batches that never cross a shard, prepared in threads a few batches ahead."""

    def __init__(
        self, read: Read, backbone: Backbone, pool: ThreadPoolExecutor, batch_size: int, skip_unreadable: bool
    ) -> None:
        self.read = read
        self.backbone = backbone
        self.pool = pool
        self.batch_size = batch_size
        self.skip_unreadable = skip_unreadable
        self.seconds = Timings()
        self.cut = 0  # items whose content was longer than the network takes

    def run(self, units: Sequence[ViewItem], done: ReportDone) -> tuple[dict[str, Values], dict[int, str]]:
        """Features {output: (n, …)} of the rows of one shard, and {row: why} where a content can't be read."""
        features = ScatteredRows(len(units))
        errors: dict[int, str] = {}
        begun: deque[tuple[list[int], PendingFeatures]] = deque()

        def finish_one() -> None:
            numbers, encoded = begun.popleft()
            for output, values in (found := encoded()).items():
                refuse_non_finite(values, [units[number] for number in numbers], output, self.backbone)
            features.put(numbers, found)
            done(len(numbers))

        for start, batch in self.batches(units):
            began = time.perf_counter()
            outcomes = [future.result() for future in batch]
            ready = time.perf_counter()
            numbers = [start + i for i, outcome in enumerate(outcomes) if not isinstance(outcome, ItemError)]
            good = [outcome for outcome in outcomes if not isinstance(outcome, ItemError)]
            self.cut += sum(self.backbone.was_cut(item) for item in good)
            for rows, encoded in self.backbone.begin(good) if good else ():
                begun.append(([numbers[row] for row in rows], encoded))
                if len(begun) > 1:  # on a GPU the one before ran while this one was made ready
                    finish_one()
            bad = {start + i: str(outcome) for i, outcome in enumerate(outcomes) if isinstance(outcome, ItemError)}
            errors |= bad
            if bad:
                done(len(bad))
            self.seconds.waiting += ready - began
            self.seconds.forward += time.perf_counter() - ready
        if begun:
            began = time.perf_counter()
            finish_one()
            self.seconds.forward += time.perf_counter() - began
        return features.features(), errors

    def batches(self, units: Sequence[ViewItem]) -> Iterator[tuple[int, list[Future[Any]]]]:
        """(first row, prepared items to come) of each batch, with the next few already under way."""
        size = len(units) if self.backbone.whole_shards else self.batch_size
        ahead: deque[tuple[int, list[Future[Any]]]] = deque()
        try:
            for start in range(0, len(units), size):
                ahead.append((start, [self.pool.submit(self.prepare, unit) for unit in units[start : start + size]]))
                if len(ahead) > BATCHES_AHEAD:
                    yield ahead.popleft()
            yield from ahead
        finally:
            for _, futures in ahead:
                for future in futures:
                    future.cancel()

    def prepare(self, unit: ViewItem) -> Any:
        """One unit, ready for a batch, or the ItemError that says why it can't be, where those are to be skipped."""
        content = content_of(unit.row, self.read)
        try:
            return views.prepare(self.backbone, content, unit.view)
        except ItemError as reason:
            if self.skip_unreadable:
                return reason
            raise unreadable_item(unit.row.item_id, reason) from reason

    def compile(self, units: Sequence[ViewItem], *, wanted: compilation.Compile, before: bool) -> bool:
        """Compile the backbone where that pays for these units; returns whether it is compiled now."""
        if wanted == "off" or len(units) < self.batch_size or self.backbone.whole_shards:
            return False
        outcomes = list(self.pool.map(self.prepare, units[: self.batch_size]))
        if any(isinstance(outcome, ItemError) for outcome in outcomes) or not outcomes:
            return False
        return compilation.compile_if_faster(
            self.backbone, outcomes, items_left=len(units), wanted=wanted, before=before
        )

    def rows_within(self, budget_bytes: int, missing: Sequence[ViewItem], among: Sequence[ViewItem]) -> int:
        """How many rows of features fit into the budget, found by passing the first unit that can be read.

        Where rows differ in length, by the mean of the first few units of all: the same for a run that is resumed.
        """
        for unit in missing:
            prepared = self.prepare(unit)
            if not isinstance(prepared, ItemError):
                encoded, count = self.backbone.encode([prepared]), 1
                if any(isinstance(values, Ragged) for values in encoded.values()):
                    tried = [self.prepare(other) for other in among[:RAGGED_SAMPLE_ITEMS]]
                    ready = [one for one in tried if not isinstance(one, ItemError)] or [prepared]
                    encoded, count = self.backbone.encode(ready), len(ready)
                return max(1, budget_bytes * count // sum(values.nbytes for values in encoded.values()))
        return len(missing) or 1


def unreadable_item(item_id: str, reason: object) -> IceboxError:
    """The error for an item that can't be read, with the choices there are."""
    return IceboxError(f"item '{item_id}': {reason}; mend or remove it", hint="skip unreadable items")


def refuse_non_finite(values: Values, units: Sequence[ViewItem], output: str, backbone: Backbone) -> None:
    """Raise IceboxError, naming the item and the backbone, where a feature is NaN or infinite."""
    if not np.isfinite(flat(values)).all():
        row = next(unit.row for unit, features in zip(units, values, strict=True) if not np.isfinite(features).all())
        family = backbone.spec["family"]
        raise IceboxError(
            f"item '{row.item_id}': backbone family '{family}' gave a non-finite value in its output '{output}'; "
            "look at the item and at the weights"
        )
