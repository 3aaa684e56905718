"""The engine `ray`: an actor a GPU, or a core, of a cluster; Ray places them, and starts machines where it can.

An actor returns the bytes of its shards, and this process writes them: that works whether or not machines share a
disk. An actor or machine that is lost costs the shards that it had not returned: another actor makes them. The cluster
is that of RAY_ADDRESS or of this machine, or else one that is started here and ends with this process.
"""

import logging
import os
import re
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from icebox.features import files, fingerprint
from icebox.features.engines.part_queue import Part, PartQueue
from icebox.features.engines.worker import DEVICE, Opener, ShardWorker, Threads
from icebox.features.errors import IceboxError
from icebox.features.extraction.batch_encoder import ReportDone, Tally
from icebox.features.extraction.shard_work import MadeShard, ShardSettings, Work
from icebox.features.extraction.views import ViewItem

PARTS_AHEAD = 2  # of an actor: one in its network, and one that is being written or waits
PATIENCE_S = 30.0  # before it is said that no actor is there yet
FAILED_STARTS_MAX = 10  # actors that may end before they are ready, one after the other
WEIGHTS_WANTED = "weights wanted"
logger = logging.getLogger("icebox")

Weights = Mapping[str, np.ndarray]  # the files of a backbone's folder: relative path → bytes


class RayWorker:
    """A ShardWorker as an actor, which returns the bytes of its shards. `project` is the planner's working folder."""

    def __init__(
        self, opener: Opener, settings: ShardSettings, threads: Threads, device: str | None, project: Path
    ) -> None:
        self.opener, self.settings, self.threads = opener, settings, threads
        self.scratch = tempfile.TemporaryDirectory(prefix="icebox-")
        os.chdir(project if project.is_dir() else self.scratch.name)
        if device is not None:
            os.environ[DEVICE] = device
        self.one_at_a_time = threading.Lock()

    def open(self, weights: Weights | None = None) -> str | None:
        """Open dataset and backbone; WEIGHTS_WANTED where its folder is not on this machine, and none are given."""
        folder = None
        if not self.opener.folder.is_dir():
            if weights is None:
                return WEIGHTS_WANTED
            folder = unpacked(weights)
        cache_root = Path(self.scratch.name) / "shards"
        self.worker = ShardWorker(self.opener, self.settings, self.threads, cache_root=cache_root, folder=folder)
        return None

    def make(self, items: Sequence[ViewItem]) -> tuple[str, np.ndarray, Tally]:
        """Make a shard → its name, its bytes, the tally. Two may be called at once: one is written beside the other."""
        with self.one_at_a_time:
            future, tally = self.worker.begin(items, lambda count: None)
        path = future.result().path
        content = np.frombuffer(path.read_bytes(), np.uint8)
        path.unlink(missing_ok=True)
        return path.name, content, tally


def packed(folder: Path) -> Weights:
    """The files in a backbone's folder."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): np.fromfile(path, np.uint8) for path in paths}


def unpacked(weights: Weights) -> Path:
    """A folder with these files, once on a machine."""
    digest = fingerprint.of_settings({name: fingerprint.of_content(content) for name, content in weights.items()})
    folder = Path(tempfile.gettempdir()) / f"icebox-weights-{os.getuid()}" / digest
    with files.locked(folder.with_suffix(".lock"), wait=True):
        if not folder.exists():
            with files.temporary_in(folder.parent) as temporary:
                temporary.mkdir()
                for name, content in weights.items():
                    path = temporary / name
                    path.parent.mkdir(parents=True, exist_ok=True)
                    content.tofile(path)
                temporary.rename(folder)
    return folder


@dataclass(eq=False)
class Member:
    """An actor, what it was asked for and has not answered, and the parts among that."""

    actor: Any
    ready: bool = False
    parts: dict[Any, Part] = field(default_factory=dict)  # by the reference to the answer


class RayCluster:
    """The engine: `count` actors, by default one for each GPU that the cluster has, or else for each core.

    `device` is that of the planner's network.
    """

    def __init__(self, opener: Opener, *, count: int | None = None, device: str | None = None) -> None:
        self.opener, self.count, self.device = opener, count, device and device.partition(":")[0]
        self.ray = library()

    def shards(self, parts: Iterable[Sequence[ViewItem]], work: Work, report_done: ReportDone) -> Iterator[MadeShard]:
        """Shards as actors finish them: see `Engine`."""
        queue = PartQueue(parts)
        if queue.holds(1):
            with connected(self.ray):
                yield from Pool(self, work).shards(queue, report_done)


class Pool:
    """The actors of one extraction."""

    def __init__(self, engine: RayCluster, work: Work) -> None:
        self.ray, self.work, self.opener = engine.ray, work, engine.opener
        there_are = self.ray.cluster_resources()
        on_gpus = engine.device == "cuda" and there_are.get("GPU", 0) > 0
        self.count = engine.count or max(1, int(there_are.get("GPU" if on_gpus else "CPU", 1)))
        options = {"num_cpus": 1, "num_gpus": 1 if on_gpus else 0, "max_concurrency": PARTS_AHEAD}
        self.actor_class = self.ray.remote(**options)(RayWorker)
        settings, threads = work.settings, Threads.of_this_process()
        self.arguments = (engine.opener, settings, threads, engine.device, Path.cwd())
        self.members: list[Member] = []
        self.asked: dict[Any, Member] = {}  # by the reference to the answer
        self.weights: Any = None  # a reference, once an actor has wanted them
        self.failed_starts = 0

    def shards(self, queue: PartQueue, report_done: ReportDone) -> Iterator[MadeShard]:
        """Make all parts of the queue."""
        try:
            while True:
                self._feed(queue)
                if not queue.holds(1) and not any(member.parts for member in self.members):
                    return
                answered, _ = self.ray.wait(list(self.asked), num_returns=1, timeout=PATIENCE_S)
                if not answered and not any(member.ready for member in self.members):
                    logger.warning("waiting for Ray to place a worker: see `ray status`")
                for reference in answered:
                    if made := self._take(reference, queue):
                        report_done(len(made.shard.item_keys))
                        yield made
        finally:
            for member in self.members:
                self._kill(member)

    def _feed(self, queue: PartQueue) -> None:
        """Give parts to the actors that are ready; others are started while there are parts for them."""
        for ahead in range(PARTS_AHEAD):
            for member in self.members:
                if member.ready and len(member.parts) == ahead and (part := queue.take()):
                    reference = member.actor.make.remote(part.items)
                    member.parts[reference] = part
                    self.asked[reference] = member
        while len(self.members) < self.count and queue.holds(1 + sum(not member.ready for member in self.members)):
            member = Member(self.actor_class.remote(*self.arguments))
            self.members.append(member)
            self.asked[member.actor.open.remote()] = member

    def _take(self, reference: Any, queue: PartQueue) -> MadeShard | None:
        """Take an answer; an actor that is lost leaves, and its parts go back into the queue."""
        member = self.asked.pop(reference)
        try:
            answer = self.ray.get(reference)
        except self.ray.exceptions.RayTaskError as error:  # raised by our own code there
            raise (
                error.cause
                if isinstance(error.cause, IceboxError | OSError)
                else IceboxError(f"a worker of Ray failed: {type(error.cause).__name__}: {error.cause}")
            ) from error
        except self.ray.exceptions.RayError as reason:
            self._lose(member, queue, cause_of(reason))
            return None
        if answer is None:
            member.ready, self.failed_starts = True, 0
            return None
        if answer == WEIGHTS_WANTED:
            if self.weights is None:
                self.weights = self.ray.put(packed(self.opener.folder))
            self.asked[member.actor.open.remote(self.weights)] = member
            return None
        del member.parts[reference]
        name, content, tally = answer
        return MadeShard(self.work.cache.receive(name, content), tally)

    def _lose(self, member: Member, queue: PartQueue, ending: str) -> None:
        logger.warning("a worker of Ray was lost (%s); another goes on with its shards", ending)
        self.members.remove(member)
        self._kill(member)
        self.asked = {reference: asked for reference, asked in self.asked.items() if asked is not member}
        self.failed_starts += not member.ready
        if self.failed_starts >= FAILED_STARTS_MAX:
            raise IceboxError(
                f"{self.failed_starts} workers of Ray ended before they were ready, the last by {ending}; look at its "
                "logs, and whether icebox is installed on all machines"
            )
        for position, part in enumerate(member.parts.values()):
            queue.give_back(part, ending=ending if position == 0 else None)

    def _kill(self, member: Member) -> None:
        with suppress(Exception):  # it is gone, or the cluster is
            self.ray.kill(member.actor)


def cause_of(reason: Exception) -> str:
    """The kind of Ray's error, and of the error of Python behind it, if any: Ray's own texts are pages."""
    lines = [line.strip() for line in str(reason).splitlines() if re.match(r"\s*\w+(Error|Exception): ", line)]
    return ": ".join([type(reason).__name__, *lines[-1:]])


def library() -> Any:
    """Ray, without reports to its makers. Raises IceboxError where it is not installed."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.exceptions
    except ImportError as reason:
        raise IceboxError("engine: ray is not installed here; run: pip install 'icebox[ray]'") from reason
    return ray


@contextmanager
def connected(ray: Any) -> Iterator[None]:
    """Be connected to a cluster: that of this process, of RAY_ADDRESS or of this machine, or one that is started."""
    if ray.is_initialized():
        yield
        return
    try:
        ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as reason:
        address = os.environ.get("RAY_ADDRESS", "none is set")
        raise IceboxError(f"engine: ray: no cluster to be reached (RAY_ADDRESS: {address}): {reason}") from reason
    try:
        yield
    finally:
        ray.shutdown()
