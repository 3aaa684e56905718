"""Sequences of different lengths with one number each: generated here, or from a file of arrays.

The process that generates them, for item i of length T with steps x_t in R^10, t = 1 … T:

    x_t ~ N(0, I)                                        independent of each other
    g_t = 1 + sin(2π t / 16) / 2                         the gain of the input, which varies with time
    s_t = 0.9 s_{t-1} + g_t · tanh(a · x_t) · (1 + b · x_{t-1} / 2),   s_0 = 0, x_0 = 0
    y   = s_T / 3 + noise · N(0, 1)

a and b are unit vectors drawn from the seed, T is uniform from `length_min` to `length_max`. So the latest steps count
most, their order matters, and the first `length_min` steps alone say little of a long sequence.
"""

from collections.abc import Iterator
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import numpy as np
from annotated_types import Ge

from icebox.features.abc.dataset import Content, Dataset, Item, Modality
from icebox.features.buckets.path import place
from icebox.features.datasets.readers.npz import read_arrays
from icebox.features.errors import IceboxError

WIDTH = 10  # numbers per step
DECAY = 0.9  # of the state, per step
PERIOD = 16  # of the gain, in steps


class Source(Dataset):
    """One item per sequence (t, 10) float32; its label is the number to predict (`task: regression`).

    `path` is an .npz of `x` (the steps of all sequences concatenated, (sum t, d)), `offsets` (n + 1,) of their first
    steps, and `y` (n,); without it `number` sequences are generated from `seed`, of `length_min` to `length_max` steps.
    `noise` is the standard deviation of what is added to their labels.
    """

    modality: Modality = "sequence"

    def __init__(
        self,
        *,
        path: Path | None = None,
        number: Annotated[int, Ge(1)] = 3000,
        length_min: Annotated[int, Ge(1)] = 8,
        length_max: Annotated[int, Ge(1)] = 40,
        noise: float = 0.1,
        seed: int = 0,
    ) -> None:
        self.path = path
        self.number, self.length_min, self.length_max = number, length_min, length_max
        self.noise, self.seed = noise, seed

    def items(self) -> Iterator[Item]:
        """The items in the file's order, or the order of generation."""
        _, offsets, y = self._arrays
        for i in range(len(offsets) - 1):
            yield Item(item_id=f"{i:06}", source=str(i), label=f"{y[i]:.6g}" if self.labelled else "")

    def read(self, source: str) -> Content:
        """The sequence (t, d) float32."""
        x, offsets, _ = self._arrays
        i = int(source)
        return x[offsets[i] : offsets[i + 1]]

    def elsewhere(self, path: Path, *, labelled: bool) -> "Source | None":
        """The sequences of another .npz file; without labels it needs no `y`."""
        return self._changed(path=path, labelled=labelled) if path.suffix.lower() == ".npz" else None

    @cached_property
    def _arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """x (sum t, d) float32, offsets (n + 1,), y (n,)."""
        return self._generated() if self.path is None else self._stored(place(self.path))

    def _generated(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        if not 1 <= self.length_min <= self.length_max:
            raise IceboxError(
                f"sequences: expected 1 ≤ length_min ≤ length_max, found {self.length_min} and {self.length_max}"
            )
        random = np.random.default_rng(self.seed)
        a, b = (vector / np.linalg.norm(vector) for vector in random.normal(size=(2, WIDTH)))
        lengths = random.integers(self.length_min, self.length_max + 1, self.number)
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        x = random.normal(size=(offsets[-1], WIDTH)).astype(np.float32)
        y = np.array([simulate_response(x[i:j], a, b) for i, j in pairwise(offsets)])
        return x, offsets, y + self.noise * random.normal(size=self.number)

    def _stored(self, path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        names = ("x", "offsets", *(["y"] if self.labelled else []))
        arrays = read_arrays(path, names, f"arrays {', '.join(names)}")
        if missing := [name for name in names if name not in arrays]:
            raise IceboxError(f"sequences: {path}: expected arrays {', '.join(names)}, found no {', '.join(missing)}")
        x, offsets = arrays["x"], arrays["offsets"]
        y = arrays["y"] if self.labelled else np.zeros(max(0, offsets.size - 1))
        numbers = x.dtype.kind in "fiub" and offsets.dtype.kind in "iu" and y.dtype.kind in "fiub"
        fits = numbers and x.ndim == 2 and y.ndim == 1 and offsets.shape == (len(y) + 1,)
        if not fits or offsets[0] != 0 or offsets[-1] != len(x) or (offsets[1:] <= offsets[:-1]).any():
            raise IceboxError(
                f"sequences: {path}: expected x (sum t, d), offsets (n + 1) rising from 0 to sum t, and y (n,), all "
                f"numbers, found {x.dtype} {x.shape}, {offsets.dtype} {offsets.shape} and {y.dtype} {y.shape}"
            )
        return x.astype(np.float32), offsets, y


def simulate_response(x: np.ndarray, a: np.ndarray, b: np.ndarray) -> float:
    """The process above, without its noise, for one sequence (t, d)."""
    state, previous = 0.0, 0.0  # s_{t-1} and b · x_{t-1}
    for t, (drive, modulation) in enumerate(zip(np.tanh(x @ a), x @ b, strict=True), start=1):
        gain = 1 + np.sin(2 * np.pi * t / PERIOD) / 2
        state = DECAY * state + gain * drive * (1 + previous / 2)
        previous = modulation
    return state / 3
