"""Reading speed of a store: all of it against np.load of the same array; shuffled minibatches against h5py.

Run in the project's root: python -m benchmarks.reading [ITEMS] [WIDTH] [ROUNDS]

Random features in a temporary folder, files in the page cache. Contestants take turns; a ratio is the median over
rounds of the other's seconds by ours, so above 1 Icebox is faster.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

from icebox.features import fingerprint
from icebox.features.manifest.manifest import ManifestRow
from icebox.features.store import index, shards
from icebox.features.store.feature_store import FeatureStore
from icebox.features.store.shard_cache.places import RowLocation
from icebox.features.store.shards import SHARD_ROWS

BATCH = 256
BATCHES = 10


def make_store(folder: Path, features: np.ndarray) -> FeatureStore:
    """A store of these features, cut as extraction cuts them."""
    rows = [
        ManifestRow(
            item_id=f"{i}", item_key=fingerprint.of_content(f"{i}"), label="", split="train", group="", source=""
        )
        for i in range(len(features))
    ]
    places = []
    for start in range(0, len(rows), SHARD_ROWS):
        part = slice(start, start + SHARD_ROWS)
        keys = [row.item_key for row in rows[part]]
        path = shards.write(
            folder, store_fingerprint="benchmark", item_keys=keys, features={"last": features[part]}, errors={}
        )
        places += [RowLocation(shards.read(path), row) for row in range(len(keys))]
    index.write(folder, rows=rows, places={"identity": places}, spec={}, fingerprint="benchmark", skipped={}, odd={})
    return FeatureStore(folder)


def seconds(work: Callable[[], object]) -> float:
    """Duration of one call."""
    started_s = time.perf_counter()
    work()
    return time.perf_counter() - started_s


def compare(name: str, ours: Callable[[], object], others: dict[str, Callable[[], object]], rounds: int) -> None:
    """Print the median seconds of each and their ratios to ours."""
    for work in (ours, *others.values()):
        work()
    taken = np.array([[seconds(work) for work in (ours, *others.values())] for _ in range(rounds)])
    print(f"{name}: {np.median(taken[:, 0]) * 1e3:.2f} ms")
    for column, other in enumerate(others, start=1):
        ratio = taken[:, column] / taken[:, 0]
        print(
            f"    {other}: {np.median(taken[:, column]) * 1e3:.2f} ms, ratio {np.median(ratio):.2f} "
            f"(smallest {ratio.min():.2f}, largest {ratio.max():.2f})"
        )


def main(items: int = 20_000, width: int = 512, rounds: int = 15) -> None:
    """Print both comparisons, for float32 and float16."""
    for dtype in (np.float32, np.float16):
        features = np.random.default_rng(0).standard_normal((items, width)).astype(dtype)
        print(f"{items:,} × {width} {features.dtype}, {features.nbytes / 1e6:.0f} MB, median of {rounds} rounds")
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            store = make_store(folder / "store", features)
            np.save(folder / "array.npy", features)
            with h5py.File(folder / "chunked.h5", "w") as file:
                file.create_dataset("default", data=features, chunks=True)
                file.create_dataset("rows", data=features, chunks=(64, width))
            order = np.random.default_rng(1).permutation(items)
            batches = [order[i * BATCH : (i + 1) * BATCH] for i in range(BATCHES)]

            def whole(folder: Path = folder) -> np.ndarray:
                return FeatureStore(folder / "store").load()

            def streamed(store: FeatureStore = store) -> None:
                for _ in store.batches(1024):
                    pass

            def shuffled(store: FeatureStore = store, batches: list[np.ndarray] = batches) -> None:
                for batch in batches:
                    store.load_items(batch)

            def npy(folder: Path = folder) -> np.ndarray:
                return np.load(folder / "array.npy")

            np.testing.assert_array_equal(whole(), features)
            compare("store.load(), the store opened before", store.load, {"np.load": npy}, rounds)
            compare("FeatureStore(…).load(), opening counted", whole, {"np.load": npy}, rounds)
            compare("store.batches(1024), all of it", streamed, {"np.load": npy}, rounds)
            with h5py.File(folder / "chunked.h5") as file:

                def fancy(name: str, file: h5py.File = file, batches: list[np.ndarray] = batches) -> None:
                    for batch in batches:
                        file[name][np.sort(batch)]  # h5py takes increasing indices only

                others = {
                    "h5py, its own chunks": lambda: fancy("default"),
                    f"h5py, chunks of 64 × {width}": lambda: fancy("rows"),
                }
                compare(f"{BATCHES} shuffled batches of {BATCH}", shuffled, others, rounds)


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
