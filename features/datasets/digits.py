"""The 1,797 handwritten digits that ship with scikit-learn: real data that every clone already has.

Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, 1998
(its test half). 8×8 pixels, values 0..16: the number of ink pixels in a 4×4 block of the scan.
"""

import functools
import importlib.util
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from icebox.features.abc.dataset import Content, Dataset, Item, Modality
from icebox.features.errors import IceboxError

ROWS = 1797
SIDE = 8  # pixels
INK_MAX = 16


class Source(Dataset):
    """One item per row of scikit-learn's table, in its order; no official split."""

    modality: Modality = "image"

    def items(self) -> Iterator[Item]:
        """`digits-0000` to `digits-1796`, labels "0" to "9"; the source is the row."""
        for row, label in enumerate(load_table()[:, -1]):
            yield Item(item_id=f"digits-{row:04}", source=str(row), label=str(label))

    def read(self, source: str) -> Content:
        """uint8 (8, 8), ink bright: value · 255 // 16, so that 0 → 0, 8 → 127, 16 → 255 and no two values meet."""
        if not source.isdecimal() or int(source) >= ROWS:
            raise IceboxError(f"digits: expected a row from 0 to {ROWS - 1}, found '{source}'")
        ink = load_table()[int(source), :-1].astype(np.uint16).reshape(SIDE, SIDE)
        return (ink * 255 // INK_MAX).astype(np.uint8)


@functools.cache  # 0.2 MB, used for every item
def load_table() -> np.ndarray:
    """uint8 (n, 64 + 1): the pixels of each digit, then its label. Read without importing scikit-learn (1.6 s)."""
    package = importlib.util.find_spec("sklearn")
    if package is None or package.origin is None:
        raise IceboxError("digits: the data ships with scikit-learn, which is not installed: pip install scikit-learn")
    path = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
    if not path.is_file():
        raise IceboxError(f"digits: this scikit-learn has no {path}; install scikit-learn ≥ 1.0 from its wheel")
    rows = np.loadtxt(path, delimiter=",", dtype=np.uint8)
    if rows.shape != (ROWS, SIDE * SIDE + 1):
        raise IceboxError(f"digits: {path}: expected a table of {(ROWS, SIDE * SIDE + 1)}, found {rows.shape}")
    rows.flags.writeable = False
    return rows
