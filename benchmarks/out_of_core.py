"""Peak memory of heads fitted on stores that are not read into memory, each in a process of its own.

Run in the project's root: python -m benchmarks.out_of_core [FOLDER]

`logreg`: 5,000,000 × 256 float16 (2.6 GB), made as it goes in FOLDER (default: a temporary one). `lightgbm`: 200,000 ×
512. Features are normal, classes the argmax of a random linear map with noise; every fifth item is test.
"""

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from icebox.features import fingerprint
from icebox.features.manifest.manifest import ManifestRow
from icebox.features.store import index, shards
from icebox.features.store.feature_store import FeatureStore
from icebox.features.store.shard_cache.places import RowLocation

SHARD_ROWS = 50_000
SIZES = {"logreg": (5_000_000, 256, 2), "lightgbm": (200_000, 512, 10)}
NOISE = 4.0


class LazySequence(Sequence[Any]):
    """n objects, each created by `make(i)` on access: as a list, 5,000,000 rows of a manifest would take gigabytes."""

    def __init__(self, n: int, make: Any) -> None:
        self.n, self.make = n, make

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, i: Any) -> Any:
        return self.make(i)

    def __iter__(self) -> Iterator[Any]:
        return map(self.make, range(self.n))


def make(folder: Path, n: int, d: int, k: int) -> None:
    """Write a store of real shards."""
    random = np.random.default_rng(0)
    weights = random.normal(size=(d, k)).astype(np.float32) / np.sqrt(d)
    labels, written = np.empty(n, np.int8), []
    folder.mkdir(parents=True)
    for start in range(0, n, SHARD_ROWS):
        rows = min(SHARD_ROWS, n - start)
        X = random.standard_normal((rows, d), np.float32)
        scores = X @ weights + NOISE * random.standard_normal((rows, k), np.float32) / np.sqrt(d)
        labels[start : start + rows] = scores.argmax(axis=1)
        keys = [f"{start + i:064x}" for i in range(rows)]
        features = {"last": X.astype(np.float16)}
        path = shards.write(folder, store_fingerprint="made up", item_keys=keys, features=features, errors={})
        written.append(shards.read(path))

    def row(i: int) -> ManifestRow:
        split = "test" if i % 5 == 0 else "train"
        return ManifestRow(item_id=f"{i}", item_key="", label=f"{labels[i]}", split=split, group="", source="")

    index.write(
        folder,
        rows=LazySequence(n, row),
        places={"identity": LazySequence(n, lambda i: RowLocation(written[i // SHARD_ROWS], i % SHARD_ROWS))},
        spec={"outputs": ["last"], "made": fingerprint.of_settings([n, d, k])},
        fingerprint="made up",
        skipped={},
        odd={},
    )


def status_bytes(name: str) -> int:
    """An entry of Linux's /proc/self/status in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) * 1024


class MemoryMonitor(threading.Thread):
    """Peak of anonymous memory, sampled 20 times a second; the kernel keeps no peak of that alone."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak_bytes = 0

    def run(self) -> None:
        """Sample until the process ends."""
        while True:
            self.peak_bytes = max(self.peak_bytes, status_bytes("RssAnon"))
            time.sleep(0.05)


def fit(folder: Path, family: str) -> dict[str, float]:
    """Fit one head on train and score it on test, as the stage does with what is too large for memory."""
    from threadpoolctl import threadpool_limits

    from icebox.features import plugins
    from icebox.pipeline.data import feature_selection
    from icebox.pipeline.data.on_disk import DiskFeatures
    from icebox.pipeline.evaluation import predictions

    monitor = MemoryMonitor()
    monitor.start()
    build = plugins.load("icebox.pipeline.heads", family).build
    store = FeatureStore(folder)
    selection = feature_selection.select(store)
    classes, numbers = np.unique(store.index.labels, return_inverse=True)
    before_bytes = status_bytes("VmRSS")
    train, test = (DiskFeatures(store, store.items(split), selection) for split in ("train", "test"))
    started_s = time.perf_counter()
    with threadpool_limits(1):
        head = build().fit(train, numbers[train.items])
        fit_s, fit_peak_bytes = time.perf_counter() - started_s, status_bytes("VmHWM")
        right = [
            predictions.predict(head, test[rows], len(classes)).predicted == numbers[test.items[rows]]
            for rows in test.blocks()
        ]
    return {
        "fit_s": fit_s,
        "accuracy": float(np.concatenate(right).mean()),
        "before_bytes": before_bytes,
        "fit_peak_bytes": fit_peak_bytes,
        "peak_bytes": status_bytes("VmHWM"),
        "peak_anonymous_bytes": monitor.peak_bytes,
    }


def main(folder: Path) -> None:
    """Write each store in one process, fit on it in another, and print a line."""
    for family, (n, d, k) in SIZES.items():
        store = folder / family
        child = [sys.executable, "-m", "benchmarks.out_of_core"]
        if not store.exists():
            subprocess.run([*child, "make", str(store), family], check=True)
        result = json.loads(
            subprocess.run([*child, "fit", str(store), family], check=True, stdout=subprocess.PIPE).stdout
        )
        size_bytes = n * d * 2
        print(
            f"{family} on {n:,} × {d} float16 ({size_bytes / 1e6:,.0f} MB), {k} classes: "
            f"peak {result['fit_peak_bytes'] / 1e6:,.0f} MB in the fit and {result['peak_bytes'] / 1e6:,.0f} MB with "
            "the scoring of test, the touched pages of files counted, "
            f"{result['peak_anonymous_bytes'] / 1e6:,.0f} MB without; {result['before_bytes'] / 1e6:,.0f} MB before "
            f"the fit (libraries, the index); {result['fit_peak_bytes'] / size_bytes:.2f}× the array; "
            f"{result['fit_s']:.0f} s, test accuracy {result['accuracy']:.4f}"
        )


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["make", where, family]:
            make(Path(where), *SIZES[family])
        case ["fit", where, family]:
            print(json.dumps(fit(Path(where), family)))
        case [where]:
            main(Path(where))
        case _:
            with tempfile.TemporaryDirectory() as name:
                main(Path(name))
