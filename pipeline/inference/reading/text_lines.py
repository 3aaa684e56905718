"""Texts, or several texts that make one item, from the lines of a file or of stdin."""

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

from icebox.features.abc.dataset import Content, Modality, Pair
from icebox.features.datasets.readers.file_kinds import SIGNATURES, UTF_16
from icebox.features.datasets.readers.tables.columns import column_list
from icebox.features.errors import IceboxError
from icebox.features.text import cleaning

ENOUGH_BYTES = 16  # of a first line, to tell by its NUL characters that it is UTF-16
TAB = "\t"
COLUMN_NAME = re.compile(r"\S|\S.{0,38}\S")  # as a header has it: not empty, short, without blanks around


@dataclass(frozen=True, kw_only=True)
class TextLines:
    """One item a line, also of an empty one. A line ends at \\n or \\r\\n and nowhere else.

    `columns` are the dataset's columns of texts: with several of them, a line holds as many texts with tabs between
    them. `refuses_header`: whether a first line that holds the names of these columns is refused, since it shows that
    this is a table.
    """

    columns: Sequence[str | int]
    pairs: bool
    clean: Sequence[str]
    encoding: str
    refuses_header: bool

    @classmethod
    def of_dataset(
        cls,
        modality: Modality,
        parameters: Mapping[str, Any],
        *,
        clean: Sequence[str],
        encoding: str | None,
        refuses_header: bool,
    ) -> "TextLines":
        """Lines that hold what the text columns of a dataset with these parameters hold."""
        names = ("first", "second") if modality == "pair" else ("text",)
        return cls(
            columns=[column for name in names for column in column_list(parameters.get(name)) or [name]],
            pairs=modality == "pair",
            clean=clean,
            encoding=encoding or parameters.get("encoding", "utf-8"),
            refuses_header=refuses_header,
        )

    def read(self, stream: IO[bytes], place: str) -> Iterator[Content]:
        """The content of each line, as it comes. Raises IceboxError for another encoding, or number of texts."""
        lines = decoded_lines(stream, self.encoding, place)
        number = 0
        try:
            for number, line in enumerate(lines, 1):
                text = line.removesuffix("\n").removesuffix("\r")
                if number == 1 and self.refuses_header:
                    self.refuse_header(text, place)
                yield self.content(text, f"{place}, line {number}")
        except UnicodeDecodeError as error:
            raise IceboxError(
                f"{place}, line {number + 1}: is not {self.encoding}: it holds the byte "
                f"0x{error.object[error.start]:02x}; if this is text, name its encoding, such as --encoding cp1252"
            ) from None
        except (LookupError, UnicodeError) as error:  # an encoding that is unknown, or UTF-16 without its mark
            raise IceboxError(f"{place}: can't be read with encoding {self.encoding!r}: {error}") from None

    def content(self, line: str, place: str) -> Content:
        """The item on a line."""
        texts = line.split(TAB) if len(self.columns) > 1 else [line]
        if len(texts) != len(self.columns):
            raise IceboxError(
                f"{place}: expected {len(self.columns)} texts ({', '.join(map(str, self.columns))}) with a tab between "
                f"them, found {len(texts)}: {line[:60]!r}; or give a table like the dataset's"
            )
        texts = [cleaning.clean(text, self.clean) for text in texts]
        return Pair(*texts) if self.pairs else "\n".join(texts)

    def refuse_header(self, line: str, place: str) -> None:
        """Raise IceboxError for a first line that belongs to a table with these columns."""
        names = {column for column in self.columns if isinstance(column, str)}
        for kind, cells in (("csv", cells_of(line, ",")), ("tsv", cells_of(line, TAB)), ("jsonl", keys_of(line))):
            if names and names <= cells:
                raise IceboxError(
                    f"{place}: its first line is that of a table ({line[:60]}); to read it as one, name it .{kind}, or "
                    f"of stdin say --stdin {kind}; to read each line as a text: --lines"
                )


def decoded_lines(stream: IO[bytes], encoding: str, place: str) -> Iterator[str]:
    """The lines of a binary stream, with their ends. Raises UnicodeError, LookupError, and IceboxError for no text."""
    if "\n".encode(encoding) != b"\n":  # UTF-16 and the like
        text = io.TextIOWrapper(stream, encoding=encoding, newline="\n")
        try:
            yield from text
        finally:
            text.detach()  # which would close the stream when it goes
        return
    for number, line in enumerate(stream):  # one by one, so that an error is that of its line
        if number == 0 and (kind := other_kind(line)):
            raise IceboxError(f"{place}: expected lines of text, found {kind}")
        decoded = line.decode(encoding)
        yield decoded if number else decoded.removeprefix("\ufeff")  # the mark that Excel and Notepad put first


def other_kind(start: bytes) -> str:
    """The kind of a file by its first line, where it is no text in an encoding that knows no NUL; else ""."""
    kind = next((name for signature, name in SIGNATURES if start.startswith(signature)), "")
    if kind == UTF_16 or (len(start) >= ENOUGH_BYTES and 4 * start.count(0) > len(start)):
        return f"{kind or 'NUL characters'}; name its encoding: --encoding utf-16"
    return kind


def cells_of(line: str, delimiter: str) -> set[str]:
    """The cells of a table's header; none of a line that is no header."""
    try:
        cells = next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        return set()
    return set(cells) if all(COLUMN_NAME.fullmatch(cell) for cell in cells) else set()


def keys_of(line: str) -> set[str]:
    """The keys of a JSON object; none of any other text."""
    try:
        values = json.loads(line) if line.startswith("{") else {}
    except (ValueError, RecursionError):
        return set()
    return set(values)
