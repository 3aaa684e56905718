"""A worker of an engine: a dataset and a backbone, opened in a process of its own, that make shard after shard."""

import os
import sys
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from icebox.features.abc.backbone import Backbone
from icebox.features.errors import IceboxError, ItemError
from icebox.features.extraction.batch_encoder import BatchEncoder, ReportDone, Tally
from icebox.features.extraction.extract import fingerprint_of
from icebox.features.extraction.shard_work import ShardMaker, ShardSettings
from icebox.features.extraction.views import ViewItem
from icebox.features.manifest.reading import Read
from icebox.features.store.shard_cache.cache import ShardCache
from icebox.features.store.shards import Shard

LOSSES_MAX = 5  # workers that may end over one shard
DEVICE = "ICEBOX_DEVICE"  # features.nn.devices reads it; importing that would load torch


class Opener(Protocol):
    """A picklable way to open an extraction's dataset and backbone in another process, as the planner has them.

    `folder` holds the backbone's files.
    """

    @property
    def folder(self) -> Path:
        """The folder of the backbone."""
        ...

    def open(self, folder: Path | None = None) -> tuple[Read, Backbone]:
        """How to read a source's content, and the backbone, with its files from another folder where one is given."""
        ...


@dataclass(frozen=True)
class Threads:
    """The number of threads with which torch computes in the planner's process; None: it has not loaded torch.

    The last bits of some networks whose passes take several hang on it, so that workers take the same; where a pass
    takes one thread, a worker runs `passes` of them side by side.
    """

    torch: int | None
    passes: int = 1

    @classmethod
    def of_this_process(cls, *, workers: int | None = None) -> "Threads":
        """Those of this process, shared out among so many workers on this machine; None: a worker has a core."""
        if "torch" not in sys.modules:
            return cls(None)
        import torch

        threads = torch.get_num_threads()
        return cls(threads, passes=max(1, threads // workers) if workers else 1)

    def apply(self) -> None:
        """Let this process have as many."""
        if self.torch is not None:
            import torch

            torch.set_num_threads(self.torch)


class ShardWorker:
    """Makes shards in this process as an extraction's planner wants them, in the shard cache below `cache_root`.

    Raises IceboxError where the backbone, opened here, has other features than the planner's.
    """

    def __init__(
        self, opener: Opener, settings: ShardSettings, threads: Threads, *, cache_root: Path, folder: Path | None = None
    ) -> None:
        threads.apply()
        read, backbone = opener.open(folder)
        if fingerprint_of({**backbone.spec, "stored": settings.stored}) != settings.fingerprint:
            raise IceboxError(
                f"a worker on {os.uname().nodename} opened a backbone whose features are others than the planner's; "
                "expected the same version of icebox, of its libraries and of the weights on all machines"
            )
        self.pool = ThreadPoolExecutor(settings.threads)
        self.open = ExitStack()  # for as long as this process
        at_once = self.open.enter_context(backbone.side_by_side(threads.passes))
        self.encoder = BatchEncoder(
            read, backbone, self.pool, settings.batch_size, settings.skip_unreadable, passes_at_once=at_once
        )
        self.maker = ShardMaker(self.encoder, ShardCache(cache_root, settings.fingerprint), settings.stored)
        self.to_compile = settings.compiled

    def begin(self, items: Sequence[ViewItem], report_done: ReportDone) -> tuple[Future[Shard], Tally]:
        """Encode the items of a shard → the shard, once it is written, and the tally so far."""
        if self.to_compile:
            self._compile(items)
        future = self.maker.begin(items, report_done)
        return future, self.encoder.take_tally()

    def _compile(self, items: Sequence[ViewItem]) -> None:
        """Compile the network as the planner did: after a pass, which says how many items share one."""
        for item in items:
            prepared = self.encoder.prepare(item)
            if not isinstance(prepared, ItemError):
                self.encoder.backbone.encode([prepared])
                self.encoder.backbone.compile(self.encoder.batch_size)
                self.to_compile = False
                return


def lost(items: Sequence[ViewItem], ending: str) -> IceboxError:
    """The error for a shard over which workers ended again and again."""
    first, last = items[0].row.item_id, items[-1].row.item_id
    return IceboxError(
        f"the shard of items '{first}' to '{last}' ({len(items)} in view {items[0].view}): {LOSSES_MAX} workers ended "
        f"over it, the last by {ending}; look at these items and at the memory that is free, or take fewer workers"
    )
