"""Arrays of an .npz file: those that are asked for, without pickles, none larger than the file says it is."""

import math
import tokenize
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

import numpy as np

from icebox.features.datasets.readers.file_kinds import EMPTY_ZIP, ZIP, kind_of, require_file
from icebox.features.errors import IceboxError
from icebox.features.json_files import one_line

DEFLATE_RATIO = 1100  # zlib makes at most 1,032 bytes of one; a header that promises more is wrong
UNREADABLE = (
    OSError, ValueError, EOFError, KeyError, TypeError, SyntaxError, OverflowError, NotImplementedError, RuntimeError,
    RecursionError, MemoryError, zipfile.BadZipFile, zlib.error, tokenize.TokenError,
)  # fmt: skip


def array_names(path: Path, contents: str) -> list[str]:
    """Names of the arrays in the file. Raises IceboxError for a file that is missing or no .npz; see `read_array`."""
    require_file(path, contents)
    kind = kind_of(path)
    if kind not in ("", ZIP, EMPTY_ZIP):
        raise IceboxError(f"datasets: {path} is {kind}; expected {contents}, as numpy.savez writes them (.npz)")
    with damage_explained(path), zipfile.ZipFile(path) as archive:
        return [name.removesuffix(".npy") for name in archive.namelist()]


def read_arrays(path: Path, names: Iterable[str], contents: str) -> dict[str, np.ndarray]:
    """Those of the arrays called `names` that the file has. `contents` describes what it should hold, for the errors.

    Raises IceboxError for a file that is missing, no .npz or damaged, for pickled objects, and for an array whose
    header claims another size than its bytes have.
    """
    existing = array_names(path, contents)
    with damage_explained(path), zipfile.ZipFile(path) as archive:
        return {name: read_array(archive, f"{name}.npy", path) for name in names if name in existing}


def read_array(archive: zipfile.ZipFile, name: str, path: Path) -> np.ndarray:
    """One array of the archive, its size checked before room is made for it."""
    member = archive.getinfo(name)
    if member.file_size > DEFLATE_RATIO * max(1, member.compress_size):
        raise ValueError(f"{name} claims {member.file_size:,} bytes in {member.compress_size:,}")
    with cast(zipfile.ZipExtFile, archive.open(member)) as stream:
        shape, fortran, dtype = read_header(stream)
        if dtype.hasobject:
            raise ValueError(f"{name} holds pickled objects")
        if math.prod(shape) * dtype.itemsize != member.file_size - stream.tell():
            raise ValueError(f"{name} claims the shape {shape} of {dtype}, which is not the size of its bytes")
        values = np.empty(math.prod(shape), dtype)
        unfilled = values.view(np.uint8).data if values.nbytes else memoryview(b"")
        while len(unfilled):
            count = stream.readinto(unfilled)
            if not count:
                raise EOFError(f"{name} ends {len(unfilled):,} bytes early")
            unfilled = unfilled[count:]
        stream.read(1)  # at its end the archive's checksum is compared
    return values.reshape(shape[::-1]).T if fortran else values.reshape(shape)


def read_header(stream: IO[bytes] | zipfile.ZipExtFile) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether in Fortran's order, and type of the array that begins here."""
    version = np.lib.format.read_magic(stream)
    reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = reader(stream)
    return shape, fortran, dtype


@contextmanager
def damage_explained(path: Path) -> Iterator[None]:
    """Turn whatever goes wrong while a file is read into one line."""
    try:
        yield
    except UNREADABLE as error:
        raise IceboxError(
            f"datasets: {path} can't be read as .npz without pickled objects: {one_line(error)}; write it anew with "
            "numpy.savez, labels as text (dtype str) or whole numbers"
        ) from error
