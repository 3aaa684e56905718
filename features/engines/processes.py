"""The engine `processes`: workers on this machine, one a GPU or several on the processor.

A worker that is killed costs the shards that it had not finished: another takes its place and makes them. The workers
end with this process, however that ends.
"""

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from icebox.features.engines.part_queue import Part, PartQueue
from icebox.features.engines.worker import DEVICE, Opener, ShardWorker, Threads
from icebox.features.errors import IceboxError
from icebox.features.extraction.batch_encoder import ReportDone, Tally
from icebox.features.extraction.shard_work import MadeShard, ShardSettings, Work
from icebox.features.extraction.views import ViewItem
from icebox.features.store import shards
from icebox.features.store.shards import Shard

PARTS_AHEAD = 2  # of a worker: the one that it is at, and the next
STARTS_MAX = 3  # workers that may end before they are ready, one after the other
PATIENCE_S = 5.0  # with a worker that was told to end
logger = logging.getLogger("icebox")


@dataclass
class Worker:
    """A process with a ShardWorker, and the parts that it was given and has not made."""

    process: BaseProcess
    connection: Connection
    device: str | None
    ready: bool = False
    at: int | None = None  # the number of the part that its network is at
    gone: bool = False  # it has ended, and all that it sent is taken
    parts: dict[int, Part] = field(default_factory=dict)  # by number, in the order in which it makes them
    reported: dict[int, int] = field(default_factory=dict)  # items of each part that were reported as finished

    def ending(self) -> str:
        """How the process ended."""
        self.process.join(PATIENCE_S)
        code = self.process.exitcode
        if code is not None and code < 0:
            with suppress(ValueError):
                return signal.Signals(-code).name
        return f"exit code {code}"


class Processes:
    """The engine: `count` workers, each on the next of `devices` (names of torch's; none: as this process)."""

    def __init__(self, opener: Opener, *, count: int, devices: Sequence[str] = ()) -> None:
        self.opener, self.count, self.devices = opener, count, devices
        self.context = multiprocessing.get_context("spawn")  # a fork would share threads of torch that are not there

    def shards(self, parts: Iterable[Sequence[ViewItem]], work: Work, report_done: ReportDone) -> Iterator[MadeShard]:
        """Shards as workers finish them: see `Engine`."""
        queue, workers, failed_starts = PartQueue(parts), list[Worker](), 0
        try:
            while True:
                self._feed(queue, workers, work.settings)
                if not workers or not any(worker.parts for worker in workers):
                    return
                wait([each for worker in workers for each in (worker.connection, worker.process.sentinel)])
                for worker in list(workers):
                    yield from self._receive(worker, report_done)
                    failed_starts = 0 if worker.ready else failed_starts
                    if worker.gone:
                        workers.remove(worker)
                        ending = worker.ending()
                        failed_starts += not worker.ready
                        if failed_starts >= STARTS_MAX:
                            raise IceboxError(
                                f"{STARTS_MAX} workers ended before they were ready, the last by {ending}; look at the "
                                "memory that is free, or take fewer of them"
                            )
                        logger.warning("a worker ended by %s; another goes on with its shards", ending)
                        report_done(-sum(worker.reported.values()))
                        for part in worker.parts.values():
                            queue.give_back(part, ending=ending if part.number == worker.at else None)
                        worker.connection.close()
        finally:
            end(workers)

    def _feed(self, queue: PartQueue, workers: list[Worker], settings: ShardSettings) -> None:
        """Give parts to the workers, those with fewest first; new ones are started while there are parts for them."""
        for ahead in range(PARTS_AHEAD):
            for worker in workers:
                if len(worker.parts) == ahead and worker.process.is_alive():
                    if (part := queue.take()) is None:
                        return
                    give(worker, part)
            while ahead == 0 and len(workers) < self.count:
                if (part := queue.take()) is None:
                    return
                workers.append(self._start(workers, settings))
                give(workers[-1], part)

    def _start(self, workers: Sequence[Worker], settings: ShardSettings) -> Worker:
        taken = [worker.device for worker in workers]
        device = min(self.devices, key=taken.count, default=None)
        here, there = self.context.Pipe()
        process = self.context.Process(
            target=work_until_told,
            args=(there, self.opener, settings, Threads.of_this_process(workers=self.count), device),
            daemon=True,
            name="icebox worker",
        )
        process.start()
        there.close()
        return Worker(process, here, device)

    def _receive(self, worker: Worker, report_done: ReportDone) -> Iterator[MadeShard]:
        """Take what a worker has sent."""
        running = worker.process.is_alive()  # asked first: what it sent before it ended is taken below
        try:
            while worker.connection.poll():
                match worker.connection.recv():
                    case "ready":
                        worker.ready = True
                    case "at", int(number):
                        worker.at = number
                    case "items", int(number), int(count):
                        worker.reported[number] = worker.reported.get(number, 0) + count
                        report_done(count)
                    case "made", int(number), Path() as path, Tally() as tally:
                        yield MadeShard(shards.read(path), tally)
                        del worker.parts[number]
                        worker.reported.pop(number, None)
                    case "failed", BaseException() as reason:
                        raise reason
        except (EOFError, ConnectionResetError):
            running = False
            worker.process.kill()
        worker.gone = not running


def give(worker: Worker, part: Part) -> None:
    """Give a part to a worker; one that has just ended keeps it, until that is noticed."""
    worker.parts[part.number] = part
    with suppress(OSError):
        worker.connection.send(part)


def end(workers: Sequence[Worker]) -> None:
    """End all workers."""
    for worker in workers:
        worker.process.terminate()
    for worker in workers:
        worker.process.join(PATIENCE_S)
        worker.process.kill()
        worker.connection.close()


def work_until_told(
    connection: Connection, opener: Opener, settings: ShardSettings, threads: Threads, device: str | None
) -> None:
    """Be a worker: make the parts that come, until this process is ended or its parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this one
    threading.Thread(target=end_with_parent, daemon=True).start()
    lock = threading.Lock()

    def send(*message: Any) -> None:
        with lock, suppress(BrokenPipeError):
            connection.send(message if len(message) > 1 else message[0])

    if device is not None:
        os.environ[DEVICE] = device
    try:
        worker = ShardWorker(opener, settings, threads, cache_root=settings.cache_root)
        send("ready")
        while True:
            part: Part = connection.recv()
            send("at", part.number)
            future, tally = worker.begin(part.items, partial(send, "items", part.number))
            future.add_done_callback(partial(tell, send, part.number, tally))
    except EOFError:
        return
    except Exception as reason:  # noqa: BLE001  # whatever it is, the parent raises it
        send("failed", portable(reason))


def tell(send: Callable[..., None], number: int, tally: Tally, done: Future[Shard]) -> None:
    """Send a shard that is written, or the reason why it could not be."""
    if reason := done.exception():
        send("failed", portable(reason))
    else:
        send("made", number, done.result().path, tally)


def portable(reason: BaseException) -> BaseException:
    """An exception that another process can read."""
    return (
        reason
        if isinstance(reason, IceboxError | OSError | MemoryError)
        else RuntimeError(f"{type(reason).__name__}: {reason}")
    )


def end_with_parent() -> None:
    """End this process at once when its parent has ended."""
    if parent := multiprocessing.parent_process():
        wait([parent.sentinel])
    os._exit(1)
