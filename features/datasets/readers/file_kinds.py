"""Kinds of files by their first bytes, so that a file that was taken for another is called by its name."""

from pathlib import Path

from icebox.features.errors import IceboxError
from icebox.features.json_files import one_line

SIGNATURE_BYTES = 42
UTF_16 = "text in UTF-16"
WORKBOOK = "an Excel workbook (.xlsx)"
ZIP = "a zip archive"
LFS_POINTER = "the pointer that Git LFS keeps in a file's place"
EMPTY_ZIP = "an empty zip archive"
SIGNATURES = (
    (b"\x89HDF\r\n\x1a\n", "HDF5, as h5py writes it"),
    (b"PAR1\x15", "Parquet"),
    (b"PK\x03\x04", ZIP),
    (b"PK\x05\x06", EMPTY_ZIP),
    (b"\x1f\x8b", "gzip"),
    *((b"BZh%d1AY&SY" % level, "bzip2") for level in range(1, 10)),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel workbook (.xls)"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"ARROW1\x00\x00", "Arrow (Feather)"),
    (b"Obj\x01", "Avro"),
    (b"%PDF-", "a PDF"),
    (b"version https://git-lfs.github.com/spec/v1", LFS_POINTER),
    (b"\x93NUMPY", "one NumPy array (.npy)"),
    (b"MATLAB 5.0 MAT", "a MATLAB file"),
    (b"\x80\x02", "a pickle"),
    (b"\x80\x03", "a pickle"),
    (b"\x80\x04", "a pickle"),
    (b"\x80\x05", "a pickle"),
    (b"\xff\xd8\xff", "a JPEG"),
    (b"\x89PNG\r\n", "a PNG"),
    (b"\xff\xfe", UTF_16),
    (b"\xfe\xff", UTF_16),
)


def kind_of(path: Path) -> str:
    """The kind of a file by its first bytes, as a noun; "" where they are none of those known.

    Raises IceboxError for a file that can't be read. A workbook of Excel is a zip archive that holds a sheet.
    """
    try:
        with path.open("rb") as stream:
            start = stream.read(SIGNATURE_BYTES)
            kind = next((name for signature, name in SIGNATURES if start.startswith(signature)), "")
            if kind == ZIP:
                stream.seek(0)
                return WORKBOOK if b"xl/" in stream.read(1 << 16) else kind
            return kind
    except OSError as reason:
        raise IceboxError(f"datasets: {path} can't be read: {one_line(reason.strerror or reason)}") from reason


def require_file(path: Path, contents: str) -> None:
    """Raise IceboxError where there is no regular file: a pipe would be waited for without end."""
    if path.is_file():
        return
    if path.exists():
        raise IceboxError(f"datasets: {path} is no file, but a folder, pipe, socket or device; correct `path`")
    raise IceboxError(
        f"datasets: no file {path} (looked in {Path.cwd()}, the project's root); put it there, with {contents}, "
        "or correct `path`"
    )
