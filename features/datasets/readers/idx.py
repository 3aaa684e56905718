"""MNIST and datasets of its format: four IDX files, in the layout in which torchvision stores them.

An IDX file holds a magic number (type and number of axes), the size of each axis, then the values.
"""

import gzip
import math
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from icebox.features.abc.dataset import Item
from icebox.features.datasets.readers.file_kinds import kind_of
from icebox.features.errors import IceboxError
from icebox.features.json_files import one_line

SPLITS = {"train": "train", "test": "t10k"}  # ours → the start of the files' names
IMAGES, LABELS = "images-idx3-ubyte", "labels-idx1-ubyte"
FILES = [f"{start}-{end}" for start in SPLITS.values() for end in (IMAGES, LABELS)]
DEFLATE_RATIO = 1100  # gzip makes at most 1,032 bytes of one
UINT8 = 0x08  # the third byte of the magic number


@dataclass(frozen=True)
class IdxDataset:
    """The items of torchvision's dataset `name` (a class there), with its published train and test splits.

    `root` has torchvision's meaning: the files lie in `root/NAME/raw`, or in `root` itself, with or without `.gz`.
    With `download`, missing files are downloaded.
    """

    name: str
    classes: Sequence[str]
    root: Path
    download: bool

    def items(self) -> Iterator[Item]:
        """`train-00000` … in the files' order, then `test-00000` …; sources are `train/0` ….

        Raises IceboxError for files that are missing, damaged or do not hold one label per image.
        """
        if self.download and self._missing():
            self._fetch()
        for split, (images, labels) in self._arrays.items():
            for row, label in enumerate(labels[: len(images)].tolist()):
                label = self.classes[label]
                yield Item(item_id=f"{split}-{row:05}", source=f"{split}/{row}", label=label, split=split)

    def read(self, source: str) -> np.ndarray:
        """uint8 (28, 28), ink bright."""
        split, _, row = source.partition("/")
        images, _ = self._arrays.get(split, (np.empty(0), None))
        if not row.isdecimal() or int(row) >= len(images):
            raise IceboxError(f"{self.name}: expected 'train/ROW' or 'test/ROW' of a row there is, found '{source}'")
        image: np.ndarray = images[int(row)]
        return image

    @cached_property
    def _arrays(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """{split: (images uint8 (n, h, w), labels uint8 (n,))}."""
        if missing := self._missing():
            raise IceboxError(
                f"{self.name}: no {', '.join(missing)} in {self.root / self.name / 'raw'} (looked in {Path.cwd()}); "
                "put these files there (with or without .gz), or set `download: true` for this dataset"
            )
        return {split: self._part(start) for split, start in SPLITS.items()}

    def _part(self, start: str) -> tuple[np.ndarray, np.ndarray]:
        """Images and labels of one split, checked for one valid label per image."""
        images_path, labels_path = self._path(f"{start}-{IMAGES}"), self._path(f"{start}-{LABELS}")
        images, labels = read_idx(images_path), read_idx(labels_path)
        if images.ndim != 3 or labels.shape != images.shape[:1]:
            raise IceboxError(
                f"{self.name}: {images_path}: expected images (n, height, width) and as many labels, "
                f"found {images.shape} and {labels.shape}"
            )
        if labels.size and labels.max() >= len(self.classes):
            raise IceboxError(
                f"{self.name}: {labels_path}: expected labels below {len(self.classes)}, found {labels.max()}"
            )
        return images, labels

    def _missing(self) -> list[str]:
        """Names of the missing files."""
        return [name for name in FILES if not self._path(name).is_file()]

    def _path(self, name: str) -> Path:
        """The path of an existing file, else the path where it belongs.

        Copies elsewhere write `train-images.idx3-ubyte`, with a dot, or put each file into a folder of its own name.
        """
        folders = (self.root / self.name / "raw", self.root, self.root / "raw", self.root / self.name)
        names = (name, name.replace("-idx", ".idx"))
        places = [place for folder in folders for each in names for place in (folder / each, folder / each / each)]
        candidates = [place.with_name(f"{place.name}{suffix}") for place in places for suffix in ("", ".gz")]
        return next((path for path in candidates if path.is_file()), candidates[0])

    def _fetch(self) -> None:
        """Let torchvision download its files, check their md5 and unpack them."""
        from icebox.features import compat

        try:
            getattr(compat.torchvision().datasets, self.name)(self.root, download=True)
        except (OSError, RuntimeError) as error:
            raise IceboxError(
                f"{self.name}: can't be downloaded: {one_line(error)}; "
                f"by hand: put {', '.join(FILES)} (with or without .gz) into {self.root / self.name / 'raw'}"
            ) from error


def read_idx(path: Path) -> np.ndarray:
    """An IDX file of unsigned bytes, gzipped or not → uint8, read-only. Raises IceboxError for any other file."""
    try:
        with gzip.open(path) if kind_of(path) == "gzip" else path.open("rb") as stream:
            magic = stream.read(4)
            axes = magic[3] if magic[:3] == bytes([0, 0, UINT8]) and len(magic) == 4 else 0
            header = stream.read(4 * axes)
            if not axes or len(header) != 4 * axes:
                raise IceboxError(f"{path}: expected an IDX file of unsigned bytes, found one that starts {magic!r}")
            shape = np.frombuffer(header, ">u4").tolist()
            expected = math.prod(shape)
            content = stream.read(min(expected, DEFLATE_RATIO * path.stat().st_size) + 1)
    except (OSError, EOFError, zlib.error, MemoryError) as error:
        raise IceboxError(f"{path}: can't be read, delete it and put it there anew: {one_line(error)}") from error
    if len(content) != expected:
        found = f"{len(content):,}" if len(content) < expected else "more"
        raise IceboxError(f"{path}: expected {expected:,} values {tuple(shape)}, found {found}")
    return np.frombuffer(content, np.uint8).reshape(shape)
