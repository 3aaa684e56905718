"""A vector for each class in the space of an embedding: of the texts that name it, or from a file.

Letters: k classes, d features, t texts of a class.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from icebox.features.abc.backbone import TextTower
from icebox.features.datasets.readers.npy import read_npy
from icebox.features.datasets.readers.npz import array_names, read_arrays
from icebox.features.errors import IceboxError, suggestion

LOGIT_SCALE = 100.0  # where no network says one: CLIP's, at the end of its training
NUMBERS = ("logit_scale", "logit_bias")  # that a file may hold beside the vectors
PLACE = "{}"  # of a class's name in a template
SUFFIXES = (".npy", ".npz", ".safetensors")
BATCH = 64
TEMPLATES = ("a photo of a {}",)


@dataclass(frozen=True)
class ClassVectors:
    """Vectors (k, d) float32 of length 1; the logit of a class is `scale` × its cosine with an item's + `bias`."""

    vectors: np.ndarray
    scale: float = LOGIT_SCALE
    bias: float = 0.0


class ClassTexts:
    """The classes of a dataset, in the order of their numbers, and the way to the text tower of its store's backbone.

    Vectors are computed once for each setting; fits ask for them side by side.
    """

    def __init__(self, classes: Sequence[str], load_tower: Callable[[], TextTower]) -> None:
        """`load_tower` raises IceboxError where there is no text tower."""
        self.classes, self._load_tower = list(classes), load_tower
        self._tower: TextTower | None = None
        self._computed: dict[str, ClassVectors] = {}
        self._lock = threading.Lock()

    def vectors(
        self, *, templates: Sequence[str], names: Mapping[Any, str] | None, file: Path | str | None
    ) -> ClassVectors:
        """The vectors of a `file`, or else of each class the mean of its name's texts, one by each template.

        Raises IceboxError for names of classes that there are not, for templates without a place for the name, and for
        a file that does not hold the classes.
        """
        with self._lock:
            key = repr((templates, names, file))
            if key not in self._computed:
                self._computed[key] = self._of_texts(templates, names) if file is None else of_file(file, self.classes)
            return self._computed[key]

    def _of_texts(self, templates: Sequence[str], names: Mapping[Any, str] | None) -> ClassVectors:
        words = words_of(self.classes, names)
        for template in templates:
            if PLACE not in template:
                raise IceboxError(f"templates: expected {PLACE} where the class's name stands, found '{template}'")
        self._tower = tower = self._tower or self._load_tower()
        texts = [template.replace(PLACE, word) for word in words for template in templates]
        prepared = [tower.encoder.prepare(text) for text in texts]
        batches = [prepared[start : start + BATCH] for start in range(0, len(prepared), BATCH)]
        embedded = np.concatenate([np.asarray(tower.encoder.encode(batch)["embedding"]) for batch in batches])
        of_classes = unit(embedded.astype(np.float64)).reshape(len(words), len(templates), -1).mean(1)
        scale = LOGIT_SCALE if tower.logit_scale is None else tower.logit_scale
        return ClassVectors(unit(of_classes).astype(np.float32), scale, tower.logit_bias)


def words_of(classes: Sequence[str], names: Mapping[Any, str] | None) -> list[str]:
    """The words for each class: its name, or else its label with blanks for underscores."""
    named = {str(label): words for label, words in (names or {}).items()}
    for label in named:
        if label not in classes:
            raise IceboxError(f"names: no class '{label}'; {suggestion(label, list(classes))}")
    return [named.get(label, label.replace("_", " ")) for label in classes]


def of_file(file: Path | str, classes: Sequence[str]) -> ClassVectors:
    """The vectors in an .npy (k, d), in the order of the sorted labels; or in an .npz or .safetensors, an array called
    as each label, (d,) or (t, d) of several texts, and perhaps numbers called logit_scale and logit_bias."""
    path = Path(file)
    match path.suffix.lower():
        case ".npy":
            rows = read_npy(path)
            if rows.ndim != 2 or len(rows) != len(classes):
                raise IceboxError(
                    f"vectors: {path}: expected ({len(classes)}, d), a row a class, {', '.join(classes[:10])} in this "
                    f"order, found {rows.shape}"
                )
            arrays = dict(zip(classes, rows, strict=True))
        case ".npz":
            arrays = read_arrays(path, array_names(path, "vectors of classes"), "vectors of classes")
        case ".safetensors":
            from icebox.features.weights import checkpoints

            tensors = checkpoints.read_tensors(path)
            arrays = {name: tensor.float().numpy() for name, tensor in tensors.items()}
        case other:
            raise IceboxError(f"vectors: {path}: expected one of {', '.join(SUFFIXES)}, found '{other}'")
    for label in classes:
        if label not in arrays:
            raise IceboxError(f"vectors: {path}: no array for the class '{label}'; {suggestion(label, sorted(arrays))}")
    numbers = {name: float(arrays[name].reshape(())) for name in NUMBERS if name in arrays and name not in classes}
    return ClassVectors(
        np.stack(
            [of_class(arrays[label], f"vectors: {path}: '{label}'") for label in same_width(arrays, classes, path)]
        ),
        numbers.get("logit_scale", LOGIT_SCALE),
        numbers.get("logit_bias", 0.0),
    )


def same_width(arrays: Mapping[str, np.ndarray], classes: Sequence[str], path: Path) -> Sequence[str]:
    """The classes, whose arrays are checked to be numbers of one length."""
    for label in classes:
        array, first = arrays[label], arrays[classes[0]]
        if array.dtype.kind not in "fiu" or array.ndim not in (1, 2) or not array.size:
            raise IceboxError(
                f"vectors: {path}: '{label}': expected numbers (d,) or (t, d), found {array.dtype} {array.shape}"
            )
        if array.shape[-1] != first.shape[-1]:
            raise IceboxError(
                f"vectors: {path}: '{label}' has {array.shape[-1]} numbers and '{classes[0]}' {first.shape[-1]}"
            )
    return classes


def of_class(array: np.ndarray, where: str) -> np.ndarray:
    """The mean direction (d,) of one vector or several."""
    rows = np.atleast_2d(array).astype(np.float64)
    if not np.isfinite(rows).all() or not np.linalg.norm(rows, axis=1).all():
        raise IceboxError(f"{where}: expected numbers that are finite and not all 0")
    mean: np.ndarray = unit(unit(rows).mean(0)).astype(np.float32)
    return mean


def unit(rows: np.ndarray) -> np.ndarray:
    """Vectors (…, d) at length 1; zeros stay zeros."""
    lengths = np.linalg.norm(rows, axis=-1, keepdims=True)
    scaled: np.ndarray = rows / np.where(lengths > 0, lengths, 1)
    return scaled
