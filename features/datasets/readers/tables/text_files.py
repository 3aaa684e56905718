"""Text files as others wrote them: plain or compressed, in any encoding, and called by name where they are no text."""

import bz2
import codecs
import gzip
import lzma
import os
import re
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
MAX_BYTES = 4 * LONGEST_LINE_CHARACTERS  # of a row
COUNTABLE = re.compile(r"ascii|utf-8(?:-sig)?|iso8859-[0-9]+|cp125[0-9]|cp437|cp85[0-9]|koi8-[rut]|mac-roman")
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
        with opener(path, "rt", encoding=own_encoding(encoding), newline=newline) as stream:
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


class ByteCount:
    """The bytes of the lines that were read of a file; None where these can't be counted by their characters.

    They can in UTF-8 and in encodings of one byte a character, if the file is not compressed.
    """

    def __init__(self, path: Path, encoding: str) -> None:
        own = codecs.lookup(own_encoding(encoding)).name
        self.encoding = "utf-8" if own == "utf-8-sig" else own
        self.total: int | None = None
        if COUNTABLE.fullmatch(own) and kind_of(path) not in OPENERS:
            with path.open("rb") as stream:
                start = stream.read(len(codecs.BOM_UTF8))
            self.total = len(start) if own == "utf-8-sig" and start == codecs.BOM_UTF8 else 0

    def add(self, line: str) -> None:
        """Count one more line."""
        if self.total is not None:
            self.total += len(line) if line.isascii() else len(line.encode(self.encoding))


def own_encoding(encoding: str) -> str:
    """The encoding by which a file is opened: a byte order mark before UTF-8 is left out."""
    return "utf-8-sig" if encoding.lower().replace("_", "-") in {"utf-8", "utf8"} else encoding


def read_span(path: Path, span: tuple[int, int], encoding: str) -> str:
    """The text of a row's bytes in a file, by the first and their number. Raises IceboxError where there is none now.

    Raises OSError for a file that can't be opened.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        content = os.pread(descriptor, min(span[1], MAX_BYTES), span[0])
    finally:
        os.close(descriptor)
    try:
        if len(content) != span[1]:
            raise no_row(path, span)
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise no_row(path, span) from error


def no_row(path: Path, span: tuple[int, int]) -> IceboxError:
    """The error for a file that has changed behind a reference."""
    return IceboxError(
        f"datasets: {path}: expected a row in {span[1]:,} bytes from {span[0]:,}, found none; the file has changed",
        hint="make the manifest again",
    )


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
