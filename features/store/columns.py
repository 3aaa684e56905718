"""Columns of an index: texts of one width, and what shows that a column is the one that was written."""

import hashlib
from collections.abc import Mapping, Sequence

import h5py
import numpy as np


def checked(file: h5py.File, column: str, digests: Mapping[str, str]) -> np.ndarray:
    """A column. Raises ValueError where it is not what was written."""
    values: np.ndarray = file[column][:]
    if sha256_of_column(values) != digests[column]:
        raise ValueError(f"one whose column {column} is not what was written")
    return values


def text(column: np.ndarray) -> np.ndarray:
    """A column of UTF-8 bytes as str objects, each distinct one decoded once."""
    raw = column.tolist()
    decoded = {value: value.decode("utf-8", "surrogateescape") for value in set(raw)}
    return np.array([decoded[value] for value in raw], dtype=object)


def sha256_of_column(values: np.ndarray) -> str:
    """sha256 (hex) of a column, its type and shape."""
    digest = hashlib.sha256(f"{values.dtype.str}{values.shape}".encode())
    digest.update(values.tobytes())
    return digest.hexdigest()


def fixed_width(texts: Sequence[str]) -> np.ndarray:
    """Texts as fixed-width UTF-8: variable-width ones lie in a heap whose bytes are not reproducible."""
    encoded = [text.encode("utf-8", "surrogateescape") for text in texts]
    width = max((len(text) for text in encoded), default=1) or 1
    return np.array(encoded, dtype=h5py.string_dtype("utf-8", width))
