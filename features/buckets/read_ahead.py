"""Objects fetched before they are asked for: who reads a folder in order waits for one answer, not for each."""

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache

from icebox.features.buckets.bucket import Entry
from icebox.features.buckets.listings import Listings

AHEAD = 32  # objects
THREADS = 16
OBJECT_BYTES_MAX = 8 << 20  # of one that is fetched ahead


class ReadAhead:
    """The reading in progress, and how far each folder was read."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="read-ahead")
        self._lock = threading.Lock()
        self._running: dict[str, Future[None]] = {}
        self._last: dict[str, int] = {}  # {folder: number of the object that was read last}
        self._begun: dict[str, int] = {}  # {folder: number after the last object that was fetched ahead}

    def before(self, entry: Entry, fetch: Callable[[Entry], object]) -> None:
        """Wait where this object is being fetched already, and have those behind it fetched if its folder is read in
        order; a failure is left to whoever asks for the object.
        """
        folder, _, name = entry.url.rpartition("/")
        order = Listings.order(folder)
        with self._lock:
            running = self._running.get(entry.url)
            later = (
                self._later(folder, order.numbers[name], len(order.names)) if order and name in order.numbers else ()
            )
        if order and later:
            entries = Listings.folder(folder)
            for number in later:
                self._begin(entries[order.names[number]], fetch)
        if running:
            running.exception()

    def _later(self, folder: str, number: int, count: int) -> range:
        """The numbers of the objects to fetch, of `count`, now that this one was asked for."""
        in_order = abs(number - self._last.get(folder, -1)) <= AHEAD  # of several workers, one may be behind
        self._last[folder] = number
        start = max(number + 1, self._begun.get(folder, 0) if in_order else 0)
        stop = min(number + 1 + AHEAD, count) if in_order else start
        if 0 < stop - start < AHEAD // 2 and stop < count:  # in heaps, which takes less time
            return range(0)
        self._begun[folder] = max(start, stop)
        return range(start, stop)

    def _begin(self, entry: Entry, fetch: Callable[[Entry], object]) -> None:
        if not 0 <= entry.size_bytes <= OBJECT_BYTES_MAX:
            return

        def run() -> None:
            try:
                fetch(entry)
            finally:
                with self._lock:
                    self._running.pop(entry.url, None)

        with self._lock:
            if entry.url not in self._running:
                self._running[entry.url] = self._pool.submit(run)


@cache
def in_process(pid: int) -> ReadAhead:
    """The one of a process: threads do not outlive a fork."""
    return ReadAhead()


def before(entry: Entry, fetch: Callable[[Entry], object]) -> None:
    """See `ReadAhead.before`."""
    in_process(os.getpid()).before(entry, fetch)
