"""Cost of a growing store: time of 1% more items, peak memory of ten times the items, bytes on disk.

    python -m benchmarks.growing time [ITEMS] [ROUNDS]      python -m benchmarks.growing memory [FEW] [MANY]

Pictures of noise, made from their number as they are read, through ResNet-18 with random weights at 64×64 pixels (time)
or at 32×32 (memory). At 1 ms and less an item for the network, all other costs weigh heavier than usual.
"""

import json
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.clock import Clock
from icebox.features import fingerprint
from icebox.features.backbones import torchvision
from icebox.features.extraction.extract import extract
from icebox.features.extraction.precision import resolve_for_device
from icebox.features.manifest.manifest import ManifestRow

TIME_PIXELS, MEMORY_PIXELS = 64, 32


class Growing:
    """A store of the first items of an endless dataset, in a folder of its own."""

    def __init__(self, folder: Path, pixels: int) -> None:
        torchvision.fetch(folder / "net", model="resnet18", weights="random")
        self.folder, self.pixels = folder, pixels
        self.network = torchvision.load(
            folder / "net", outputs=["last"], device="cpu", precision=resolve_for_device("auto", "cpu"), size=pixels
        )

    def read(self, source: str) -> np.ndarray:
        """Item number `source`: uint8 (pixels, pixels, 3)."""
        return np.random.default_rng(int(source)).integers(0, 256, (self.pixels, self.pixels, 3), dtype=np.uint8)

    def rows(self, start: int, stop: int) -> list[ManifestRow]:
        """Rows of a manifest for items `start` to `stop`; building it is not measured here."""
        return [
            ManifestRow(
                item_id=f"{i}", item_key=fingerprint.of_content(self.read(f"{i}")), label="ab"[i % 2],
                split="train", group="", source=f"{i}",
            )
            for i in range(start, stop)
        ]  # fmt: skip

    def extract(self, rows: list[ManifestRow]) -> dict[str, float]:
        """Extract until the store holds these rows → seconds."""
        with Clock() as clock:
            extract(rows, read=self.read, backbone=self.network, cache_root=self.folder / "cache",
                    store=self.folder / "store", batch_size=64, workers=1, stored="float16")  # fmt: skip
        return clock.seconds

    def share_of_float32(self) -> float:
        """Bytes of the store, index included, as a share of those of the same features in float32."""
        stored_bytes = sum(path.stat().st_size for path in (self.folder / "store").iterdir())
        from icebox.features.store.feature_store import FeatureStore

        return stored_bytes / (FeatureStore(self.folder / "store").load().size * 4)


def time_of_growth(items: int = 20_000, rounds: int = 5) -> None:
    """Print what 1% more costs, as a share of all of it."""
    store = Growing(Path(tempfile.mkdtemp()), TIME_PIXELS)
    more = items // 100
    rows = store.rows(0, items)
    whole = store.extract(rows)
    print(f"{items:,} items: {whole['cpu_s']:.1f} s of processor, {whole['wall_s']:.1f} s by the clock")
    print(f"on disk: {store.share_of_float32():.3f} of float32")
    growth_seconds = []
    for _ in range(rounds):
        rows += store.rows(len(rows), len(rows) + more)
        growth_seconds.append(store.extract(rows))
    same = store.extract(rows)
    for key, name in (("cpu_s", "processor"), ("wall_s", "clock")):
        seconds = [one[key] for one in growth_seconds]
        print(
            f"{more:,} items more, by the {name}: {statistics.median(seconds):.2f} s, "
            f"{statistics.median(seconds) / whole[key]:.1%} of the whole; none more: {same[key]:.2f} s"
        )


def peak_bytes(items: int) -> int:
    """Peak memory of this process, once it has extracted so many items."""
    store = Growing(Path(tempfile.mkdtemp()), MEMORY_PIXELS)
    store.extract(store.rows(0, items))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def memory_of_growth(few: int = 5_000, many: int = 50_000) -> None:
    """Print the peaks of two processes, and their ratio."""
    peaks = []
    for items in (few, many):
        command = [sys.executable, "-m", "benchmarks.growing", "peak", str(items)]
        peaks.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
        print(f"{items:,} items: at most {peaks[-1] / 1e6:.0f} MB")
    print(f"ratio {peaks[1] / peaks[0]:.3f}")


if __name__ == "__main__":
    numbers = [int(argument) for argument in sys.argv[2:]]
    if sys.argv[1] == "peak":
        print(peak_bytes(*numbers))
    elif sys.argv[1] == "memory":
        memory_of_growth(*numbers)
    else:
        time_of_growth(*numbers)
