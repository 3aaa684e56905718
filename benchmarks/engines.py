"""Extraction by engines: two workers of Ray against one, its own cost against one process, and 50 kills.

    python -m benchmarks.engines scaling [ROUNDS]      python -m benchmarks.engines cost [ROUNDS]
    python -m benchmarks.engines kills [KILLS]

Digits at 96 pixels through a ShuffleNet with random weights, small shards, one thread of torch a process. Rates
are those between the first shard and the last, so without the start of processes, which is printed beside. `cost` keeps
all processes on one core, and compares processor seconds of planner and worker; those of Ray's own processes, which run
by the clock and not by the item, are printed beside.
"""

import logging
import os
import random
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import psutil

from icebox.features.abc.dataset import Content

SHARD_ROWS = {
    "scaling": 16,
    "cost": 64,
}  # where items are dear shards have 1,024, so that a shard's own cost counts less
SIDE = 96
ITEMS = 512
KILL_ITEMS, KILL_ROWS = 1797, 8
KILL_AFTER = 2  # shards
NODES_SHARE = 0.2  # of the kills


@dataclass(frozen=True)
class Digits:
    """Opens the digits and the network in `folder`; each read of an item for a shard is noted in `notes`, if given."""

    folder: Path
    notes: Path | None = None

    def read(self, source: str) -> Content:
        """An item's content."""
        if self.notes is not None:
            with (self.notes / str(os.getpid())).open("a") as stream:
                stream.write(f"{source}\n")
        return source_of_digits().read(source)

    def open(self, folder: Path | None = None) -> tuple[Any, Any]:
        """The source and the network: see `Opener`."""
        from icebox.features.backbones import torchvision

        return self.read, torchvision.load(folder or self.folder, outputs=["last"], device="cpu", size=SIDE)


@cache
def source_of_digits() -> Any:
    """The dataset, opened once a process."""
    from icebox.features.datasets import digits

    return digits.Source()


class Clocked:
    """An engine that notes when each shard is made, and the processor's seconds until then."""

    def __init__(self, engine: Any) -> None:
        self.engine, self.began_s = engine, time.perf_counter()
        self.made: list[tuple[float, tuple[float, float], int]] = []

    def shards(self, parts: Any, work: Any, report_done: Any) -> Iterator[Any]:
        """The engine's shards, with their times."""
        for made in self.engine.shards(parts, work, report_done):
            self.made.append((time.perf_counter(), processor_s(), len(made.shard.item_keys)))
            yield made

    def per_item(self) -> tuple[float, float, float]:
        """Seconds, processor seconds, and those of Ray's own processes, an item, but for the first and last shard."""
        # one process tells of a shard once the next is encoded, of the last two at once: the last is left out
        (first_s, first_cpu, _), (last_s, last_cpu, _) = self.made[0], self.made[-2]
        items = sum(count for _, _, count in self.made[1:-1])
        used, ray = (after - before for before, after in zip(first_cpu, last_cpu, strict=True))
        return (last_s - first_s) / items, used / items, ray / items

    def start_s(self) -> float:
        """Seconds until the first shard was made."""
        return self.made[0][0] - self.began_s


def processor_s() -> tuple[float, float]:
    """Processor seconds of this process and its workers, and of Ray's own processes below it."""
    own = psutil.Process()
    seconds = {True: 0.0, False: 0.0}
    for process in [own, *own.children(recursive=True)]:
        with suppress(psutil.Error):
            used, command = process.cpu_times(), " ".join(process.cmdline())
            works = process == own or "ray::RayWorker" in command or "multiprocessing.spawn" in command
            seconds[works] += used.user + used.system
    return seconds[True], seconds[False]


@contextmanager
def project(folder: Path, items: int = ITEMS) -> Iterator[tuple[Digits, list[Any]]]:
    """A network, and the rows of digits."""
    from icebox.features.backbones import torchvision
    from icebox.features.datasets import digits
    from icebox.features.manifest.build import build

    torchvision.fetch(folder / "net", model="shufflenet_v2_x0_5", weights="random")
    yield Digits(folder / "net"), list(build(digits.Source(), val=0.2, test=0.2, seed=0)[:items])


def extracted(
    opener: Digits, rows: list[Any], engine: Any, folder: Path, *, shard_rows: int = SHARD_ROWS
) -> dict[str, bytes]:
    """A store in a folder of its own → its files."""
    from icebox.features.extraction.extract import extract

    read, backbone = Digits(opener.folder).open()
    extract(
        rows,
        read=read,
        backbone=backbone,
        cache_root=folder / "cache",
        store=folder / "store",
        batch_size=16,
        shard_rows=shard_rows,
        engine=engine,
    )
    return {path.name: path.read_bytes() for path in (folder / "store").iterdir()}


def measured(opener: Digits, rows: list[Any], engine: Any, *, shard_rows: int) -> Clocked:
    """An extraction by an engine, clocked."""
    clocked = Clocked(engine)
    with tempfile.TemporaryDirectory() as folder:
        extracted(opener, rows, clocked, Path(folder), shard_rows=shard_rows)
    return clocked


def scaling(rounds: int) -> None:
    """Two workers against one, on as many cores as there are."""
    from icebox.features.engines.processes import Processes
    from icebox.features.engines.ray_cluster import RayCluster

    engines = {"ray": RayCluster, "processes": Processes}
    with tempfile.TemporaryDirectory() as folder, project(Path(folder)) as (opener, rows):
        ratios: dict[str, list[float]] = {name: [] for name in engines}
        for number in range(rounds):
            for name, engine in engines.items():
                one, two = (
                    measured(opener, rows, engine(opener, count=count), shard_rows=SHARD_ROWS["scaling"])
                    for count in (1, 2)
                )
                ratios[name].append(one.per_item()[0] / two.per_item()[0])
                used = two.per_item()[1] / one.per_item()[1]
                rates = f"{1 / one.per_item()[0]:.0f} → {1 / two.per_item()[0]:.0f} items/s"
                starts = f"first shard after {one.start_s():.1f}, {two.start_s():.1f} s"
                starts += f"; {used:.2f} × the processor seconds of one"
                print(f"{number}: {name}: {ratios[name][-1]:.2f} × with two workers ({rates}; {starts})", flush=True)
    for name, values in ratios.items():
        print(f"{name}: median {statistics.median(values):.2f} × with two workers")


def cost(rounds: int) -> None:
    """One worker of Ray or of `processes` against this process, all on one core."""
    from icebox.features.engines.processes import Processes
    from icebox.features.engines.ray_cluster import RayCluster
    from icebox.features.extraction.shard_work import Local

    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as folder, project(Path(folder)) as (opener, rows):
        shares: dict[str, list[float]] = {"ray": [], "processes": []}
        for number in range(rounds):
            local = measured(opener, rows, Local(), shard_rows=SHARD_ROWS["cost"]).per_item()
            for name, engine in (("ray", RayCluster), ("processes", Processes)):
                apart = measured(opener, rows, engine(opener, count=1), shard_rows=SHARD_ROWS["cost"]).per_item()
                processor, clock = apart[1] / local[1], apart[0] / local[0]
                shares[name].append(processor)
                print(
                    f"{number}: {name}: {processor:.3f} × the processor, {clock:.3f} × the clock; Ray's own processes "
                    f"{apart[2] / apart[0]:.3f} s of processor a second",
                    flush=True,
                )
    for name, values in shares.items():
        print(f"{name}: median {statistics.median(values):.3f} × the processor seconds of one process")


def kills(count: int) -> None:
    """Actors and nodes of a cluster killed at random: bytes are compared with one process's, and passes counted."""
    import ray
    from ray.cluster_utils import Cluster

    from icebox.features.engines.ray_cluster import PARTS_AHEAD, RayCluster
    from icebox.features.extraction.shard_work import Local

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    killed = {"actor": 0, "node": 0}
    drawn = random.Random(0)
    with tempfile.TemporaryDirectory() as name, project(Path(name), KILL_ITEMS) as (opener, rows):
        folder = Path(name)
        whole = extracted(opener, rows, Local(), folder / "local", shard_rows=KILL_ROWS)
        notes = folder / "notes"
        notes.mkdir()
        clocked = Clocked(RayCluster(Digits(opener.folder, notes), count=2))
        with ThreadPoolExecutor(1) as pool:  # Ray's nodes can be started by the main thread alone
            extraction = pool.submit(extracted, opener, rows, clocked, folder / "ray", shard_rows=KILL_ROWS)
            due = KILL_AFTER
            while not extraction.done() and sum(killed.values()) < count:
                if len(clocked.made) < due:
                    time.sleep(0.02)
                    continue
                due += drawn.randint(1, 2 * len(rows) // (KILL_ROWS * count) - 1)
                time.sleep(drawn.random())
                if drawn.random() < NODES_SHARE:
                    cluster.remove_node(nodes.pop(drawn.randrange(len(nodes))), allow_graceful=False)
                    nodes.append(cluster.add_node(num_cpus=1))
                    killed["node"] += 1
                elif pids := actors():
                    with suppress(ProcessLookupError):
                        os.kill(drawn.choice(pids), signal.SIGKILL)
                        killed["actor"] += 1
                print(f"{len(clocked.made)} shards, {killed}", flush=True)
            equal = extraction.result() == whole
        passed = Counter(line for path in notes.iterdir() for line in path.read_text().split())
    ray.shutdown()
    cluster.shutdown()
    again, lost = sum(passed.values()) - len(rows), sum(killed.values()) * PARTS_AHEAD
    print(
        f"{killed} killed: bytes {'equal' if equal else 'DIFFER'}; of {len(rows)} items {again} passed again, "
        f"those of lost shards: at most {lost} of {KILL_ROWS} items; missing: {len(rows) - len(passed)}"
    )


def actors() -> list[int]:
    """The processes of this cluster's actors."""
    return [
        process.pid
        for process in psutil.Process().children(recursive=True)
        if "ray::RayWorker" in " ".join(cmdline(process))
    ]


def cmdline(process: psutil.Process) -> list[str]:
    """A process's command; none where it has ended."""
    with suppress(psutil.Error):
        return process.cmdline()
    return []


def main(name: str, *rest: str) -> None:
    """Run one of the three."""
    os.environ["OMP_NUM_THREADS"] = "1"
    numbers = [int(number) for number in rest or ["50" if name == "kills" else "3"]]
    {"scaling": scaling, "cost": cost, "kills": kills}[name](*numbers)


if __name__ == "__main__":
    from benchmarks import engines  # by its name: workers have to find the classes of this file

    engines.main(*sys.argv[1:])
