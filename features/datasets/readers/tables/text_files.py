"""Text files as others wrote them: plain or compressed, in any encoding, and called by name where they are no text."""

import bz2
import gzip
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from icebox.features.datasets.readers.file_kinds import LFS_POINTER, UTF_16, WORKBOOK, ZIP, kind_of
from icebox.features.errors import IceboxError
from icebox.features.json_files import one_line

LONGEST_LINE_CHARACTERS = 1 << 26
SAMPLE_BYTES = 4096
OPENERS: dict[str, Any] = {"gzip": gzip.open, "bzip2": bz2.open, "xz": lzma.open}
ADVICE = {
    WORKBOOK: "save its sheet as CSV (UTF-8)",
    "an old Excel workbook (.xls)": "save its sheet as CSV (UTF-8)",
    ZIP: "unpack it",
    "Parquet": "name it .parquet",
    LFS_POINTER: "fetch the file itself: git lfs pull",
}


@contextmanager
def open_text(path: Path, encoding: str, *, newline: str | None) -> Iterator[TextIO]:
    """The file's text, unpacked where it is gzip, bzip2 or xz. Excel's byte order mark before UTF-8 is left out.

    Raises IceboxError for a file that is no text, has another encoding or is damaged, also while it is read.
    """
    kind = kind_of(path)
    unicode = encoding.lower().replace("_", "-")
    if kind == UTF_16 and not unicode.startswith("utf-16"):
        raise IceboxError(f"datasets: {path} is {UTF_16}; set `encoding: utf-16`")
    if kind and kind != UTF_16 and kind not in OPENERS:
        advice = ADVICE.get(kind, "expected a table: CSV, TSV, JSON or Parquet")
        raise IceboxError(f"datasets: {path} is {kind}; {advice}")
    try:
        opener = OPENERS.get(kind, open)
        if not unicode.startswith(("utf-16", "utf-32")):
            with opener(path, "rb") as binary:
                sample = binary.read(SAMPLE_BYTES)
            if 4 * sample.count(0) > len(sample):
                raise IceboxError(
                    f"datasets: {path} holds NUL characters: it is no text, or UTF-16 without a mark, for which set "
                    f"`encoding` to {'utf-16-be' if sample.startswith(bytes(1)) else 'utf-16-le'}"
                )
        own = "utf-8-sig" if unicode in {"utf-8", "utf8"} else encoding
        with opener(path, "rt", encoding=own, newline=newline) as stream:
            yield stream
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise IceboxError(
            f"datasets: {path} is not {encoding}: it holds the byte 0x{byte:02x}; set `encoding` to the file's own, "
            "often cp1252 (Windows), else latin-1"
        ) from error
    except (LookupError, ValueError) as error:  # no such encoding, or one that is for bytes
        raise IceboxError(f"datasets: can't read {path}: {one_line(error)}; correct `encoding`") from error
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise IceboxError(f"datasets: {path} can't be read{kind and f' as {kind}'}: {one_line(error)}") from error


def lines(stream: TextIO, path: Path, *, after: int = 0) -> Iterator[str]:
    """Lines with their ends, `after` so many. Raises IceboxError for one that is too long to be a row's."""
    number = after
    while line := stream.readline(LONGEST_LINE_CHARACTERS):
        number += 1
        refuse_long(line, path, number)
        yield line


def refuse_long(line: str, path: Path, number: int) -> None:
    """Raise IceboxError for a line that is too long to be a row's."""
    if len(line) >= LONGEST_LINE_CHARACTERS:
        raise IceboxError(
            f"datasets: {path}, line {number}: has {LONGEST_LINE_CHARACTERS:,} characters or more; is this a table?"
        )
