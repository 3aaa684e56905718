"""Write HDF5 files without HDF5 accessing the disk, and the errors that h5py raises for broken ones."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

# The errors of reading a file with a flipped byte: a wrong signature, a lost name, a group where a dataset was, text
# that is no UTF-8, JSON that is none, a size beyond all memory.
BROKEN = (OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError, MemoryError, OverflowError)


@contextmanager
def created(path: Path) -> Iterator[h5py.File]:
    """Yield a new HDF5 file that is built in memory and written to `path` at the end, in one piece.

    On a full disk HDF5 itself fails while closing, and then crashes the process when it tries again at exit (seen with
    h5py 3.16: 2 of 6 sizes). A plain write fails with a plain OSError.
    """
    with h5py.File(path, "w", driver="core", backing_store=False) as file:
        yield file
        file.flush()
        image = file.id.get_file_image()
    path.write_bytes(image)
