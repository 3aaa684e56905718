"""Images as arrays in one `.npz` file, such as numpy.savez writes and MedMNIST and Keras publish."""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np

from icebox.features.abc.dataset import Content, Dataset, Item, Modality
from icebox.features.buckets.path import place
from icebox.features.datasets.readers.npz import array_names, read_arrays
from icebox.features.datasets.readers.tables.cells import as_text
from icebox.features.errors import IceboxError
from icebox.features.splits import canonical_split_name

SPLITS = ("train", "val", "test")
# (images, labels, prefix of a split), tried in this order: our names and MedMNIST's, then Keras's.
COLUMNS = ("split", "ids", "group")
ARRAY_NAMES = (("{}images", "{}labels", "{}_"), ("x_{}", "y_{}", "{}"))


class Source(Dataset):
    """One item per row. Arrays: `images` uint8 (n, height, width[, 1 or 3]) and `labels` (n,), text or whole numbers.

    Optional, (n,) each: `split`, `ids` and `group`. Official splits may also be arrays of their own: `train_images`,
    `train_labels`, `test_images` … (MedMNIST), or `x_train`, `y_train` … (Keras).
    """

    modality: Modality = "image"

    def __init__(self, *, path: Path) -> None:
        """`path` of the file, relative to the project's root."""
        self.path = place(path)

    def items(self) -> Iterator[Item]:
        """Items with the ids of `ids`, or else row numbers from 0, after `train/` … where splits are separate arrays.

        Raises IceboxError for a file that is missing, lacks these arrays, or holds pickled objects.
        """
        for part, (images, labels) in self._parts.items():
            ids = self._column("ids", len(images)) if not part else None
            splits = self._column("split", len(images)) if not part else None
            groups = self._column("group", len(images)) if not part else None
            for row, label in enumerate(labels):
                yield Item(
                    item_id=ids[row] if ids else f"{part}/{row}" if part else str(row),
                    source=f"{part}/{row}",
                    label=label,
                    split=part or (canonical_split_name(splits[row]) if splits else ""),
                    group=groups[row] if groups else "",
                )

    def read(self, source: str) -> Content:
        """uint8 (height, width[, 3])."""
        part, _, row = source.partition("/")
        images, _ = self._parts.get(part, (np.empty(0), []))
        if not row.isdecimal() or int(row) >= len(images):
            raise IceboxError(f"datasets: {self.path} has no row '{source}'")
        image: np.ndarray = images[int(row)]
        return image

    def content_file(self, source: str) -> Path:
        """The file of all pictures."""
        return self.path

    def elsewhere(self, path: Path, *, labelled: bool) -> "Source | None":
        """The images of another .npz file."""
        return self._changed(path=path, labelled=labelled) if path.suffix.lower() == ".npz" else None

    @cached_property
    def _arrays(self) -> dict[str, np.ndarray]:
        """Those arrays of the file that have a meaning here, in memory."""
        prefixes = [(names, split) for names in ARRAY_NAMES for split in ("", *SPLITS)]
        wanted = [name.format(p.format(s) if s else "") for (*pair, p), s in prefixes for name in pair]
        return read_arrays(self.path, dict.fromkeys([*wanted, *COLUMNS]), "arrays of images and labels")

    @cached_property
    def _parts(self) -> dict[str, tuple[np.ndarray, list[str]]]:
        """{split, or "": (images, labels as text)}."""
        parts = {}
        for images_name, labels_name, split_name in ARRAY_NAMES:
            for split in ("", *SPLITS):
                prefix = split_name.format(split) if split else ""
                images = self._arrays.get(images_name.format(prefix))
                if images is not None and split not in parts:
                    images = validated_images(images, self.path)
                    labels = (
                        self._column(labels_name.format(prefix), len(images)) if self.labelled else [""] * len(images)
                    )
                    if labels is None:
                        raise IceboxError(f"datasets: {self.path}: no array {labels_name.format(prefix)!r}")
                    parts[split] = images, labels
        if not parts:
            raise IceboxError(
                f"datasets: {self.path}: expected arrays images and labels (or train_images, train_labels …, "
                f"or x_train, y_train …), found "
                f"{', '.join(array_names(self.path, 'images'))[:200] or 'none'}"
            )
        return parts

    def _column(self, name: str, n: int) -> list[str] | None:
        """An array of one value per row, as text; None where there is no such array."""
        values = self._arrays.get(name)
        if values is None:
            return None
        if values.ndim == 2 and values.shape[1] == 1:
            values = values[:, 0]  # MedMNIST
        if values.shape != (n,):
            raise IceboxError(f"datasets: {self.path}: {name}: expected {n} values, one an image, found {values.shape}")
        return [as_text(value, f"{self.path}, row {row}", name) for row, value in enumerate(values.tolist())]


def validated_images(images: np.ndarray, path: Path) -> np.ndarray:
    """The images as (n, height, width[, 3]): an axis of one channel goes. Raises IceboxError for other than 8 bits."""
    if images.ndim == 4 and images.shape[3] == 1:
        images = images[..., 0]
    if images.dtype != np.uint8 or not (images.ndim == 3 or (images.ndim == 4 and images.shape[3] == 3)):
        advice = "leave the transparency out" if images.shape[3:] == (4,) else "scale to 0..255 and turn the axes first"
        raise IceboxError(
            f"datasets: {path}: images: expected uint8 (n, height, width) or (n, height, width, 3), "
            f"found {images.dtype} {images.shape}; {advice}"
        )
    return images
