"""The unit of work of an extraction: the items of one shard → a shard in the cache; and the engines that do it.

An `Engine` is told which shards to make, and where they run is its own affair: in this process (`Local`), in several,
or on a cluster. Which items make a shard, the size of batches and all other choices come from the planner, so that
every engine gives the same bytes.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from icebox.features.extraction.batch_encoder import BatchEncoder, ReportDone, Tally
from icebox.features.extraction.precision import Stored, values_to_storage_dtype
from icebox.features.extraction.views import ViewItem
from icebox.features.ragged import Values
from icebox.features.store.shard_cache.cache import ShardCache
from icebox.features.store.shards import Shard


@dataclass(frozen=True)
class ShardSettings:
    """The planner's choices, to which every process that makes shards of an extraction must hold. Picklable.

    `fingerprint` is the store's, `threads` are those that read and decode in each process.
    """

    fingerprint: str
    cache_root: Path
    stored: Stored
    batch_size: int
    threads: int
    skip_unreadable: bool
    compiled: bool


@dataclass(frozen=True)
class Work:
    """All that an engine is told: the settings, and a live encoder and cache of this process, made by them."""

    settings: ShardSettings
    encoder: BatchEncoder
    cache: ShardCache


@dataclass(frozen=True)
class MadeShard:
    """A shard that is in the cache now, and the tally of its items."""

    shard: Shard
    tally: Tally = field(default_factory=Tally)


class Engine(Protocol):
    """Where shards are made."""

    def shards(self, parts: Iterable[Sequence[ViewItem]], work: Work, report_done: ReportDone) -> Iterator[MadeShard]:
        """Make a shard of each part in the cache, and yield it once it is there, in any order.

        `report_done` is called with each number of finished items, in this thread. Raises IceboxError as
        `BatchEncoder.encode_shard` does; shards that are finished stay.
        """
        ...


class Local:
    """The engine that makes shards in this process, one after the other."""

    def shards(self, parts: Iterable[Sequence[ViewItem]], work: Work, report_done: ReportDone) -> Iterator[MadeShard]:
        """Shards in order: see `Engine`."""
        with ShardMaker(work.encoder, work.cache, work.settings.stored) as maker:
            pending: Future[Shard] | None = None
            queue = iter(parts)
            items = next(queue, None)
            while items is not None:
                after = next(queue, None)
                following = maker.begin(items, report_done, following=after or ())
                if pending:
                    yield MadeShard(pending.result())
                pending, items = following, after
            if pending:
                maker.wait()
                yield MadeShard(pending.result(), work.encoder.take_tally())


class ShardMaker(AbstractContextManager["ShardMaker"]):
    """Makes shards in this process: one is written while the network is at the next."""

    def __init__(self, encoder: BatchEncoder, cache: ShardCache, stored: Stored) -> None:
        self.encoder, self.cache, self.stored = encoder, cache, stored
        self.writer = ThreadPoolExecutor(1)
        self.pending: Future[Shard] | None = None

    def __exit__(self, *_: object) -> None:
        self.writer.shutdown()

    def begin(
        self, items: Sequence[ViewItem], report_done: ReportDone, *, following: Sequence[ViewItem] = ()
    ) -> Future[Shard]:
        """Encode the items of a shard, and begin to write it once the shard before is written.

        The `following` shard is the next that this encoder makes, if it is known.
        """
        features, errors = self.encoder.encode_shard(items, report_done, following=following)
        self.wait()
        self.pending = self.writer.submit(self._write, items, features, errors)
        return self.pending

    def wait(self) -> None:
        """Wait for the last shard to be written. Raises what its writing raised."""
        if self.pending:
            began = time.perf_counter()
            self.pending.result()
            self.encoder.tally.timings.writing += time.perf_counter() - began

    def _write(self, items: Sequence[ViewItem], features: dict[str, Values], errors: dict[int, str]) -> Shard:
        odd, keys = self.encoder.odd, [item.key for item in items]
        return self.cache.write(
            item_keys=keys,
            features={output: values_to_storage_dtype(values, self.stored) for output, values in features.items()},
            errors=errors,
            remarks={row: odd[key] for row, key in enumerate(keys) if key in odd},
        )
