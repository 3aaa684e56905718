"""Dynamic batching: items of all requests are prepared side by side and answered together.

A batch goes when it is full, when nothing else is on its way, or when its first item has waited long enough.
"""

import asyncio
import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from icebox.features.abc.dataset import Content
from icebox.features.errors import IceboxError, ItemError
from icebox.pipeline.serving.limits import busy
from icebox.pipeline.serving.metrics import Metrics
from icebox.pipeline.serving.predictor import ItemAnswer, Predictor

BATCH_SIZE = 64  # as `icebox predict` has it
WAIT_S = 0.005
READY_BATCHES = 2  # of prepared items that are kept: one in the network, one for afterwards
Outcome = ItemAnswer | IceboxError
logger = logging.getLogger("icebox")


@dataclass(frozen=True)
class Waiting:
    """A prepared item, the future of its answer, and when it came (seconds of the loop's clock)."""

    prepared: Any
    outcome: asyncio.Future[Outcome]
    since_s: float


class Batcher:
    """Answers contents of many requests through one predictor: a pool of threads prepares them, one answers batches.

    At most `all_items` are taken at a time. Of these a few batches are kept prepared, and a request has no more items
    in the pool than there are threads, so that one with many does not stop those with few.
    """

    def __init__(
        self,
        predictor: Predictor,
        metrics: Metrics,
        *,
        all_items: int,
        batch_size: int = BATCH_SIZE,
        wait_s: float = WAIT_S,
        decoders: int = 2,
    ) -> None:
        self.predictor = predictor
        self.metrics = metrics
        self.all_items = all_items
        self.batch_size = batch_size
        self.wait_s = wait_s
        self.decoders = decoders
        self.taken = 0  # items that wait or are being answered
        self._coming = 0  # of these: in the pool, so that they will be in the queue soon
        self._pool = ThreadPoolExecutor(decoders, "decode")
        self._network = ThreadPoolExecutor(1, "network")
        self._queue: asyncio.Queue[Waiting] = asyncio.Queue()
        self._ready = asyncio.Semaphore(READY_BATCHES * batch_size)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to answer."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """End, and wait for the threads."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for pool in (self._pool, self._network):
            pool.shutdown(wait=True, cancel_futures=True)

    async def answer(self, contents: Sequence[Content]) -> list[Outcome]:
        """The answer to each content, or the error of one that can't be read.

        Raises RequestError (503) where too many items wait already.
        """
        if self.taken + len(contents) > self.all_items:
            raise busy(f"{self.taken} items wait")
        self._count(len(contents))
        outcomes: list[asyncio.Future[Outcome]] = [asyncio.get_running_loop().create_future() for _ in contents]
        work = iter(zip(contents, outcomes, strict=True))
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(len(contents), self.decoders)):
                    group.create_task(self._prepare(work))
            return list(await asyncio.gather(*outcomes))
        finally:
            for outcome in outcomes:
                outcome.cancel()
            self._count(-len(contents))

    def _count(self, items: int) -> None:
        self.taken += items
        self.metrics.waiting_items.set(self.taken)

    async def _prepare(self, work: Iterator[tuple[Content, asyncio.Future[Outcome]]]) -> None:
        """Prepare items of one request, one after the other."""
        loop = asyncio.get_running_loop()
        for content, outcome in work:
            await self._ready.acquire()
            # from here on the slot is given back when the item is answered, whoever still waits for it
            outcome.add_done_callback(lambda _: self._ready.release())
            self._coming += 1
            try:
                prepared = await loop.run_in_executor(self._pool, self._prepared, content)
            finally:
                self._coming -= 1
            if outcome.done():
                continue
            if isinstance(prepared, IceboxError):
                outcome.set_result(prepared)
            else:
                self._queue.put_nowait(Waiting(prepared, outcome, loop.time()))

    def _prepared(self, content: Content) -> Any:
        """The prepared content, or its error."""
        try:
            return self.predictor.prepare(content)
        except IceboxError as error:
            return error
        except Exception:
            logger.exception("an item could not be prepared")
            return ItemError("could not be read")

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            batch = await self._gather()
            if not batch:
                continue
            self.metrics.batch_items.observe(len(batch))
            answers = await loop.run_in_executor(self._network, self._answers, [each.prepared for each in batch])
            for waiting, answer in zip(batch, answers, strict=True):
                if not waiting.outcome.done():
                    waiting.outcome.set_result(answer)

    async def _gather(self) -> list[Waiting]:
        """The next batch; without the items that nobody waits for any more."""
        loop = asyncio.get_running_loop()
        batch = [await self._queue.get()]
        until_s = batch[0].since_s + self.wait_s
        while len(batch) < self.batch_size:
            if self._queue.empty():
                rest_s = until_s - loop.time()
                if rest_s <= 0 or not self._coming:
                    break
                try:
                    batch.append(await asyncio.wait_for(self._queue.get(), rest_s))
                except TimeoutError:
                    break
            else:
                batch.append(self._queue.get_nowait())
        return [each for each in batch if not each.outcome.done()]

    def _answers(self, prepared: Sequence[Any]) -> list[Outcome]:
        """The answers to a batch. Where it fails as a whole, each item is tried alone: only its own request pays."""
        try:
            return self.predictor.answer(prepared)
        except Exception:
            if len(prepared) == 1:
                logger.exception("an item could not be answered")
                return [ItemError("could not be answered")]
            logger.warning("a batch of %d items could not be answered together; each is tried alone", len(prepared))
            return [answer for each in prepared for answer in self._answers([each])]
