"""The targets of a store's pictures, beside its index: masks or boxes, read one at a time.

`targets.h5` holds, in manifest order, `item_id` and `digest` (n,), `size` (n, 2), `offsets` (n + 1,), and either
`mask`, zlib-compressed int16 pixels end to end, or `corners`, `labels` and `ignored` of all boxes end to end; the
classes' names as JSON in attribute `classes`, the task in `task`. An item's digest is its label in the store's index,
so targets of another run are noticed.
"""

import json
import re
import zlib
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from icebox.features import files
from icebox.features.abc.targets import Boxes, Mask, Target
from icebox.features.errors import IceboxError, cause
from icebox.features.store import hdf5

FILE = "targets.h5"
DIGEST = re.compile(r"[0-9a-f]{64}")


def write(
    store: Path, item_ids: Sequence[str], targets: Iterable[Target], *, task: str, classes: Sequence[str]
) -> None:
    """Write the targets (n) of items with these ids into a store's folder, whole or not at all."""
    digests: list[str] = []
    sizes: list[tuple[int, int]] = []
    lengths: list[int] = []
    columns: dict[str, list[np.ndarray]] = {"mask": []} if task == "segmentation" else {
        "corners": [], "labels": [], "ignored": []
    }  # fmt: skip
    for target in targets:
        digests.append(target.digest)
        sizes.append(target.size)
        if isinstance(target, Mask):
            packed = np.frombuffer(zlib.compress(target.classes.astype("<i2").tobytes()), np.uint8)
            columns["mask"].append(packed)
            lengths.append(len(packed))
        else:
            for name in columns:
                columns[name].append(getattr(target, name))
            lengths.append(len(target))
    store.mkdir(parents=True, exist_ok=True)
    with files.replacing(store / FILE) as temporary, hdf5.created(temporary) as file:
        file.attrs["task"], file.attrs["classes"] = task, json.dumps(list(classes), ensure_ascii=False)
        file["item_id"] = np.array([each.encode() for each in item_ids])
        file["digest"] = np.array([each.encode() for each in digests])
        file["size"] = np.array(sizes, np.int64).reshape(-1, 2)
        file["offsets"] = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        for name, arrays in columns.items():
            file[name] = np.concatenate(arrays)


def are_digests(labels: np.ndarray) -> bool:
    """Whether labels (n,) are digests of targets, as those of a dense dataset are: the store then needs FILE."""
    return len(labels) > 0 and all(DIGEST.fullmatch(label) for label in labels.tolist())


class StoredTargets:
    """The targets of a store, by position of its manifest; a file is opened for each read, so it may be pickled."""

    def __init__(self, store: Path, item_ids: np.ndarray, labels: np.ndarray) -> None:
        """`item_ids` and `labels` (n,) are those of the store's index."""
        self.path = store / FILE
        self._item_ids, self._labels = item_ids, labels

    @cached_property
    def _table(self) -> dict[str, Any]:
        try:
            with h5py.File(self.path) as file:
                table = {name: file[name][:] for name in ("item_id", "digest", "size", "offsets")}
                table |= {"task": str(file.attrs["task"]), "classes": tuple(json.loads(file.attrs["classes"]))}
        except hdf5.BROKEN as reason:
            raise self._damaged(cause(reason)) from reason
        rows = {item_id.decode(): row for row, item_id in enumerate(table["item_id"])}
        missing = next((item_id for item_id in self._item_ids if item_id not in rows), None)
        if missing is not None:
            raise self._damaged(f"has no target of item '{missing}'")
        table["row"] = np.array([rows[item_id] for item_id in self._item_ids], np.int64)
        stale = np.flatnonzero(np.char.decode(table["digest"][table["row"]]) != self._labels.astype(str))
        if len(stale):
            raise self._damaged(f"its target of item '{self._item_ids[stale[0]]}' is not the manifest's")
        return table

    @property
    def task(self) -> str:
        """segmentation or detection."""
        return str(self._table["task"])

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes."""
        names: tuple[str, ...] = self._table["classes"]
        return names

    @property
    def sizes(self) -> np.ndarray:
        """Height and width (n, 2) of the pictures, in pixels."""
        sizes: np.ndarray = self._table["size"][self._table["row"]]
        return sizes

    def __len__(self) -> int:
        return len(self._item_ids)

    def __getitem__(self, item: int) -> Target:
        """The target of the item at this position. Raises IceboxError where the file can't be read or is damaged."""
        row = self._table["row"][item]
        start, stop = self._table["offsets"][row : row + 2]
        size: tuple[int, int] = tuple(self._table["size"][row].tolist())
        try:
            with h5py.File(self.path) as file:
                if self.task == "segmentation":
                    pixels = np.frombuffer(zlib.decompress(file["mask"][start:stop].tobytes()), "<i2")
                    target: Target = Mask(pixels.reshape(size))
                else:
                    target = Boxes(size, *(file[name][start:stop] for name in ("corners", "labels", "ignored")))
        except (*hdf5.BROKEN, zlib.error) as reason:
            raise self._damaged(cause(reason)) from reason
        if target.digest != self._labels[item]:
            raise self._damaged(f"the target of item '{self._item_ids[item]}' is not what was written")
        return target

    def _damaged(self, problem: object) -> IceboxError:
        return IceboxError(f"{self.path}: {problem}", hint="extract or restore", store=self.path.parent.name)
