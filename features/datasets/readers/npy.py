"""An array of an .npy file, and a column of labels from one or from a text file of one a line."""

import math
from pathlib import Path

import numpy as np

from icebox.features.datasets.readers.file_kinds import require_file
from icebox.features.datasets.readers.npz import UNREADABLE, read_header
from icebox.features.errors import IceboxError
from icebox.features.json_files import one_line


def read_npy(path: Path) -> np.ndarray:
    """The array in the file, mapped into memory.

    Raises IceboxError for a file that is missing, no .npy or damaged, and for pickled objects.
    """
    require_file(path, "an array as numpy.save writes it")
    try:
        with path.open("rb") as stream:
            shape, _, dtype = read_header(stream)
            if dtype.hasobject:
                raise ValueError("it holds pickled objects")
            size_bytes = path.stat().st_size - stream.tell()
        if math.prod(shape) * dtype.itemsize != size_bytes:
            raise ValueError(f"it claims the shape {shape} of {dtype}, which is not the size of its bytes")
        if not size_bytes:
            return np.empty(shape, dtype)
        array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
        return array
    except UNREADABLE as error:
        raise IceboxError(
            f"datasets: {path} can't be read as .npy without pickled objects: {one_line(error)}; write it anew with "
            "numpy.save, labels as text (dtype str) or whole numbers"
        ) from error


def read_column(path: Path) -> np.ndarray:
    """One value a row (n,): of an .npy, or the lines of a text file."""
    if path.suffix.lower() == ".npy":
        return read_npy(path)
    require_file(path, "one label a line, or an .npy")
    try:
        return np.array(path.read_text(encoding="utf-8-sig").splitlines(), object)
    except UnicodeDecodeError as error:
        raise IceboxError(f"datasets: {path}: expected labels, one a line, in UTF-8: {one_line(error)}") from error
