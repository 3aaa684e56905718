"""A sketch of features: moments of each, and a sample of random projections. It holds no item and stays small.

A sketch of a million items is as large as one of a thousand: about 0.3 MB, and 16 bytes more a feature. Two sketches of
one head can be merged, so that each process, or each day, may write its own.

Letters: n items, d features, p projections.
"""

import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from icebox.features import files
from icebox.features.errors import IceboxError

FORMAT = 1
SAMPLE_ITEMS = 1000  # as many as the two-sample test takes
PROJECTIONS = 64  # of more features than that
ARRAYS = {"mean": np.float64, "squares": np.float64, "keys": np.float64, "sample": np.float32}
DAMAGED = (
    zipfile.BadZipFile, zlib.error, ValueError, KeyError, TypeError, EOFError, RecursionError, NotImplementedError,
    RuntimeError, MemoryError,
)  # fmt: skip


@dataclass
class Sketch:
    """Of n items: the `mean` (d,) and the sum of `squares` (d,) of deviations from it, and a uniform `sample` (≤
    SAMPLE_ITEMS, p) of projected features, those of the lowest random `keys`.

    `source` names what the features are: the store's fingerprint, outputs and view.
    """

    source: dict[str, Any]
    count: int = 0
    mean: np.ndarray = field(default_factory=lambda: np.empty(0))
    squares: np.ndarray = field(default_factory=lambda: np.empty(0))
    keys: np.ndarray = field(default_factory=lambda: np.empty(0))
    sample: np.ndarray = field(default_factory=lambda: np.empty((0, 0), np.float32))

    def add(self, features: np.ndarray) -> None:
        """Take in features (n, d) of items; those of rows that are not all finite are left out."""
        features = features[np.isfinite(features).all(axis=1)]
        if not len(features):
            return
        values = features.astype(np.float64)
        mean = values.mean(axis=0)
        other = Sketch(
            self.source,
            len(values),
            mean,
            np.square(values - mean).sum(axis=0),
            np.random.default_rng().random(len(values)),
            projected(features, self.source),
        )
        self.merge(other)

    def merge(self, other: "Sketch") -> None:
        """Take in another sketch. Raises IceboxError for one of other features."""
        if other.source != self.source:
            raise IceboxError("is of other features than this head's: of another store, other outputs or another view")
        if not self.count:
            self.mean, self.squares = np.zeros(other.mean.shape), np.zeros(other.mean.shape)
            self.sample = np.empty((0, other.sample.shape[1]), np.float32)
        if not other.count:
            return
        if self.mean.shape != other.mean.shape:
            raise IceboxError(f"is of {other.mean.size:,} features, and this head takes {self.mean.size:,}")
        if other.count and np.isin(other.keys, self.keys).any():
            raise IceboxError("holds items that are in another sketch already, which would count twice; name it once")
        count, step = self.count + other.count, other.mean - self.mean  # Chan, Golub and LeVeque 1979
        self.mean = self.mean + step * (other.count / count)
        self.squares = self.squares + other.squares + np.square(step) * (self.count * other.count / count)
        self.count = count
        keys, sample = np.concatenate([self.keys, other.keys]), np.concatenate([self.sample, other.sample])
        kept = np.argsort(keys, kind="stable")[:SAMPLE_ITEMS]
        self.keys, self.sample = keys[kept], sample[kept]

    def write(self, path: Path) -> None:
        """Write it, whole or not at all."""
        stream = io.BytesIO()
        np.savez(stream, **{name: getattr(self, name) for name in ARRAYS})
        header = {"format": FORMAT, "count": self.count, "source": self.source}
        with zipfile.ZipFile(stream, "a") as archive:
            archive.writestr("sketch.json", json.dumps(header))
        with files.replacing(path) as temporary:
            temporary.write_bytes(stream.getvalue())


def read(path: Path) -> Sketch:
    """The sketch in a file. Raises IceboxError for one that is missing, damaged or no sketch."""
    try:
        with zipfile.ZipFile(path) as archive:
            header = json.loads(archive.read("sketch.json"))
        with np.load(path, allow_pickle=False) as arrays:
            sketch = Sketch(header["source"], header["count"], **{name: arrays[name] for name in ARRAYS})
        written = header["format"]
    except FileNotFoundError:
        raise IceboxError(f"{path}: not found; a sketch is written by icebox predict or serve with --sketch") from None
    except OSError as reason:
        raise IceboxError(f"{path}: can't be read: {reason.strerror or reason}") from None
    except DAMAGED as reason:  # by the bytes of a header anything that zipfile, zlib and NumPy know
        raise IceboxError(f"{path}: is no whole sketch ({type(reason).__name__}: {reason})") from None
    if written != FORMAT:
        raise IceboxError(f"{path}: expected a sketch of format {FORMAT}, found {written}")
    refuse_odd(sketch, path)
    return sketch


def refuse_odd(sketch: Sketch, path: Path) -> None:
    """Raise IceboxError for arrays that do not fit each other."""
    d, n = sketch.mean.size, sketch.keys.size
    fits = (
        type(sketch.count) is int
        and all(getattr(sketch, name).dtype == kind for name, kind in ARRAYS.items())
        and (sketch.squares >= 0).all()
        and sketch.mean.shape == sketch.squares.shape == (d,)
        and sketch.keys.shape == (n,)
        and n == min(sketch.count, SAMPLE_ITEMS)
        and sketch.sample.shape == (n, width_of(d))
        and all(np.isfinite(getattr(sketch, name)).all() for name in ARRAYS)
    )
    if not fits:
        raise IceboxError(f"{path}: is no whole sketch: its arrays do not fit each other")


def open_for(path: Path, source: dict[str, Any]) -> Sketch:
    """The sketch in a file, to go on with, or an empty one where there is none. Raises IceboxError for another's."""
    if not path.exists():
        return Sketch(source)
    sketch = read(path)
    try:
        Sketch(source).merge(sketch)
    except IceboxError as error:
        raise error.at(str(path)) from None
    return sketch


def source_of(fingerprint: str, outputs: Sequence[str], view: str) -> dict[str, Any]:
    """The identity of the features that a head takes, which sketches must share to be compared."""
    return {"fingerprint": fingerprint, "outputs": list(outputs), "view": view}


def width_of(d: int) -> int:
    """The number of projections of d features."""
    return min(d, PROJECTIONS)


def projected(features: np.ndarray, source: dict[str, Any]) -> np.ndarray:
    """Features (n, d) → (n, p) float32: few as they are, many by random signs, which hang on the source alone."""
    d = features.shape[1]
    if d <= PROJECTIONS:
        return features.astype(np.float32)
    seed = json.dumps(source, sort_keys=True).encode()
    size_bytes = -(-d * PROJECTIONS // 8)
    bits = np.unpackbits(np.frombuffer(hashlib.shake_256(seed).digest(size_bytes), np.uint8))[: d * PROJECTIONS]
    signs = bits.reshape(d, PROJECTIONS).astype(np.float32) * 2 - 1
    result: np.ndarray = features.astype(np.float32) @ (signs / np.float32(np.sqrt(d)))
    return result
