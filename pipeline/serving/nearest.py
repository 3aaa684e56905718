"""The items of train that lie nearest to a new one, by cosine distance of the features that the head takes.

Up to IN_MEMORY_BYTES all features of train are compared; above that an index finds nearly all of the nearest, which is
made once, in the background, and kept beside the shard cache.

Letters: b new items, m items of train, d features.
"""

import base64
import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from icebox.features import files, fingerprint
from icebox.features.abc.dataset import Content, Dataset, Pair
from icebox.features.errors import IceboxError
from icebox.features.joining.joined_store import Block, open_store
from icebox.features.manifest import manifest
from icebox.features.store.feature_store import FeatureStore
from icebox.pipeline.catalog import datasets
from icebox.pipeline.data.feature_selection import FeatureSelection
from icebox.pipeline.inference.bundle import Bundle
from icebox.pipeline.project import paths
from icebox.pipeline.report import thumbnails

IN_MEMORY_BYTES = 256 << 20
BLOCK_ROWS = 4096
INDICES = Path(".icebox/nearest")
THUMBNAIL_SIDE = 256  # pixels
TEXT_MAX = 200  # characters
logger = logging.getLogger("icebox")


@dataclass(frozen=True)
class Neighbor:
    """An item of train: its position in the store, id, label and cosine distance (0 to 2) from a new item."""

    position: int
    item_id: str
    label: str
    distance: float


class TrainItems:
    """The items of train that a head was fitted on, as far as its store is here."""

    def __init__(self, store: FeatureStore, bundle: Bundle) -> None:
        self.store = store
        self.bundle = bundle
        self.items = store.items("train")
        self.selection = FeatureSelection(tuple(bundle.head_outputs or store.outputs), (bundle.view,))
        self.blocks = self.selection.blocks(store)
        self._lock = threading.Lock()
        self._features: np.ndarray | None = None
        self._index: Any = None

    @classmethod
    def of(cls, bundle: Bundle) -> "TrainItems | None":
        """None where the store is not here, or is another than the one that the head was fitted on."""
        try:
            store = open_store(paths.store(bundle.store))
        except IceboxError:
            return None
        train = cls(store, bundle) if store.fingerprint == bundle.fingerprint else None
        return train if train is not None and len(train.items) else None

    def nearest(self, features: np.ndarray, count: int) -> list[list[Neighbor]] | None:
        """For each of b new items, features (b, d), its `count` nearest; None while an index is being made."""
        queries, count = unit(features, self.blocks), min(count, len(self.items))
        with self._lock:
            compared = self._compare(queries, count)
        if compared is None:
            return None
        return [
            [
                Neighbor(
                    position, str(self.store.item_ids[position]), str(self.store.labels[position]), float(distance)
                )
                for position, distance in zip(self.items[rows].tolist(), distances, strict=True)
            ]
            for rows, distances in zip(*compared, strict=True)
        ]

    def _compare(self, queries: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray] | None:
        """Rows of train (b, count) and their distances, the nearest first."""
        if self._features is None and self._index is None:
            if 4 * len(self.items) * queries.shape[1] > IN_MEMORY_BYTES:
                self._index = False
                threading.Thread(target=self._open_index, args=(queries.shape[1],), daemon=True).start()
            else:
                self._features = np.concatenate(list(self._pieces()))
        if self._features is not None:
            distances = np.maximum(1 - queries @ self._features.T, 0)  # of itself -1e-7
            rows = np.argpartition(distances, count - 1, axis=1)[:, :count]
            order = np.argsort(np.take_along_axis(distances, rows, axis=1), axis=1, kind="stable")
            rows = np.take_along_axis(rows, order, axis=1)
            return rows, np.take_along_axis(distances, rows, axis=1)
        if not self._index:
            return None
        matches = self._index.search(queries, count)
        return (
            np.asarray(matches.keys, np.int64).reshape(len(queries), -1),
            np.asarray(matches.distances, np.float32).reshape(len(queries), -1),
        )

    def _pieces(self) -> Iterator[np.ndarray]:
        """Features of train, of length 1, a block of rows at a time."""
        for start in range(0, len(self.items), BLOCK_ROWS):
            piece = self.selection.load(self.store, self.items[start : start + BLOCK_ROWS], every_view=False)
            yield unit(piece, self.blocks)
        self.store.release()

    def _open_index(self, width: int) -> None:
        """Make the index, or open the one that was made before."""
        from usearch.index import Index

        key = fingerprint.of_settings([self.store.digest, list(self.selection.outputs), self.bundle.view])
        path = INDICES / f"{key[:32]}.usearch"
        try:
            if not path.exists():
                logger.info("nearest items: an index of %s items of train is being made", f"{len(self.items):,}")
                index, start = Index(ndim=width, metric="cos", dtype="f16"), 0
                for piece in self._pieces():
                    index.add(np.arange(start, start + len(piece)), piece, threads=1)
                    start += len(piece)
                with files.replacing(path) as temporary:
                    index.save(str(temporary))
            self._index = Index.restore(str(path), view=True)
        except Exception:
            logger.exception("nearest items: the index can't be made; answers come without them")

    def content(self, position: int) -> Content | None:
        """The content of an item of train; None where its raw data is not on this machine."""
        import pyarrow.compute as pc

        if self._manifest is None or self._dataset is None:
            return None
        row = pc.index(self._manifest.item_ids, str(self.store.item_ids[position])).as_py()
        try:
            return None if row < 0 else self._dataset.read(self._manifest[row].source)
        except (KeyError, OSError, IceboxError):
            return None

    @cached_property
    def _manifest(self) -> manifest.Manifest | None:
        try:
            return manifest.read(paths.manifest(self.bundle.dataset))
        except IceboxError:
            return None

    @cached_property
    def _dataset(self) -> Dataset | None:
        try:
            return datasets.opened(self.bundle.source, self.bundle.parameters or {}) if self.bundle.source else None
        except (IceboxError, OSError):
            return None

    @staticmethod
    def text_of(content: Content) -> str | None:
        """The beginning of a text, or of both of a pair; None of a picture."""
        is_text = isinstance(content, str | Pair)
        return thumbnails.make_thumbnail(content, text_max=TEXT_MAX).text if is_text else None

    def picture(self, position: int) -> tuple[bytes, str] | None:
        """An item's picture, made small, and its media type; None where there is none."""
        if position not in self.items:
            return None
        content = self.content(position)
        try:
            made = None if content is None else thumbnails.make_thumbnail(content, side_max=THUMBNAIL_SIDE)
        except IceboxError:
            return None
        if made is None or not made.image:
            return None
        kind, _, encoded = made.image.removeprefix("data:").partition(";base64,")
        return base64.b64decode(encoded), kind


def unit(features: np.ndarray, blocks: list[Block] | None) -> np.ndarray:
    """Features (b, d) float32 of length 1: those of each member of a joined store have equal shares in it."""
    features = np.array(features, np.float32)
    for start, end in blocks or [(0, features.shape[1])]:
        lengths = np.linalg.norm(features[:, start:end], axis=1, keepdims=True)
        features[:, start:end] /= np.maximum(lengths, 1e-12)
    scaled: np.ndarray = features / np.float32(np.sqrt(len(blocks or [1])))
    return scaled
