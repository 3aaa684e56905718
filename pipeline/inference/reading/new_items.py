"""New items for a fitted head, read as its dataset was: by the same source, with the same settings.

What that source can't read elsewhere is read by its modality: images one by one or in folders, texts one a line. A
table is never taken for lines unasked: each row, quotes and all, would be a text.
"""

import logging
import lzma
import os
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from icebox.features import plugins
from icebox.features.abc.dataset import Content, Dataset, DenseDataset, Modality
from icebox.features.abc.targets import Target
from icebox.features.buckets.path import BucketPath, place
from icebox.features.datasets.readers.file_kinds import kind_of
from icebox.features.datasets.readers.tables.table import has_table_ending
from icebox.features.datasets.readers.tables.text_files import OPENERS
from icebox.features.errors import IceboxError, ItemError
from icebox.features.images.decoding import IMAGE_SUFFIXES
from icebox.features.json_files import one_line
from icebox.pipeline.catalog import datasets
from icebox.pipeline.config import plugin_schema
from icebox.pipeline.inference.reading.text_lines import TextLines

STDIN = "-"
DATASETS = "icebox.features.datasets"
TEXTUAL = ("text", "pair")
EXPECTED: dict[Modality, str] = {
    "image": "image files, folders of them, or what the dataset's source reads",
    "text": "text files of one text a line, or a table like the dataset's",
    "pair": "a table like the dataset's, or text files of two texts a line with a tab between them",
    "sequence": "an .npz of sequences",
}

logger = logging.getLogger("icebox")

TableFormat = Literal["csv", "tsv", "jsonl", "parquet"]


@dataclass(frozen=True)
class NewItem:
    """An item to predict: `item_id` names it in the output, `place` in errors.

    `label`, `group` and `split` are "" where there are none. `target` reads the mask or boxes of a labelled picture,
    `target_classes` names their classes.
    """

    item_id: str
    place: str
    read: Callable[[], Content]
    label: str = ""
    group: str = ""
    split: str = ""
    target: Callable[[], Target] | None = None
    target_classes: Callable[[], Sequence[str]] | None = None


@dataclass(frozen=True)
class Batch:
    """Items that could be read and were encoded together: the texts that show them, and their features (b, d)."""

    items: list[NewItem]
    shown: list[str]
    contents: list[Content]
    features: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How new items are read: by the dataset's `source` with its `parameters`, as params.yaml had them.

    `source` is "" for a head whose bundle does not record it. Lines of texts are cleaned by the steps `clean`; with
    `lines` any file holds such lines, whatever its ending. Stdin holds lines, or a table of the format `stdin`.
    `encoding` None: the dataset's.
    """

    modality: Modality
    source: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    clean: Sequence[str] = ()
    lines: bool = False
    stdin: TableFormat | None = None
    encoding: str | None = None

    def with_source(self, source: str | None, settings: Sequence[str]) -> "Reading":
        """With another source, or the same with other values of some parameters (`KEY=VALUE`, in YAML)."""
        parameters = dict(self.parameters) if source in (None, self.source) else {}
        return replace(
            self, source=source or self.source, parameters=parameters | dict(parse_setting(each) for each in settings)
        )

    def items(self, inputs: Sequence[str], *, labelled: bool = False) -> Iterator[NewItem]:
        """The items of all inputs in their order, or of stdin where there are none and items may be texts.

        With several inputs of texts, each id begins with its input's name. Raises IceboxError for an input that is
        missing, damaged or of another kind.
        """
        if not inputs and self.modality not in TEXTUAL:
            raise IceboxError(f"expected {EXPECTED[self.modality]}, found no input")
        for name in inputs or [STDIN]:
            read = self.items_of_stdin if name == STDIN else partial(self.items_at, place(name))
            try:
                yield from read(printable(name), labelled=labelled, several=len(inputs) > 1)
            except (OSError, EOFError, zlib.error, lzma.LZMAError) as reason:  # the latter of archives cut short
                raise IceboxError(f"{printable(name)}: can't be read: {one_line(reason)}") from None

    def items_of_stdin(self, name: str, *, labelled: bool, several: bool) -> Iterator[NewItem]:
        """Lines of text, or the rows of a table."""
        if self.modality not in TEXTUAL:
            raise IceboxError(f"stdin: can't be read as {self.modality}s; give {EXPECTED[self.modality]} by name")
        if self.stdin is None:
            yield from self.numbered_lines(sys.stdin.buffer, "stdin", name, labelled=labelled, several=several)
            return
        with tempfile.TemporaryDirectory() as folder:  # since tables are read by name
            path = Path(folder, f"stdin.{self.stdin}")
            path.write_bytes(sys.stdin.buffer.read())
            try:
                yield from self.items_at(path, name, labelled=labelled, several=several)
            except IceboxError as error:
                raise IceboxError(str(error).replace(str(path), "stdin")) from None

    def items_at(self, path: Path, name: str, *, labelled: bool, several: bool) -> Iterator[NewItem]:
        """The items of a file or folder; `name` is what the user calls it."""
        one_image = self.modality == "image" and not path.is_dir() and path.suffix.lower() in IMAGE_SUFFIXES
        if one_image and not labelled:  # one that is missing costs its own row only, as do the others in a list of them
            yield NewItem(name, name, partial(read_image, path))
            return
        # Path.exists raises where a folder may not be entered
        if not (path.exists() if isinstance(path, BucketPath) else os.path.exists(path)):  # noqa: PTH110
            raise IceboxError(f"{name}: {missing(path)}")
        other = None if self.lines else self.dataset_at(path, labelled=labelled)
        if other is not None:
            yield from items_of_dataset(other, path, name, several=several)
        elif self.modality in TEXTUAL and not path.is_dir() and (self.lines or not has_table_ending(path)):
            opener = OPENERS.get(kind_of(path), open) if path.is_file() else open  # a pipe is read once
            with opener(path, "rb") as stream:
                yield from self.numbered_lines(stream, name, name, labelled=labelled, several=several)
        elif self.modality == "image" and path.is_file() and not labelled and not has_table_ending(path):
            yield NewItem(name, name, partial(read_image, path))
        else:
            raise self.other_kind(path, name, labelled=labelled)

    def dataset_at(self, path: Path, *, labelled: bool) -> Dataset | None:
        """The items at `path` as the dataset's source reads them; images of any dataset may lie in a folder."""
        own = self.open_source()
        if own is not None and own.modality != self.modality:
            raise IceboxError(f"--source {self.source}: it holds {own.modality}s, and the head takes {self.modality}s")
        other = own and own.elsewhere(path, labelled=labelled)
        if other is None and self.modality == "image":
            return datasets.opened("image_folder", {"path": path}).elsewhere(path, labelled=labelled)
        return other

    def open_source(self) -> Dataset | None:
        """The dataset's source; None where it is not known. Raises IceboxError for parameters that it does not take."""
        if not self.source:
            return None
        file, parameters = self.source_file(), dict(self.parameters)
        if self.encoding and self.accepts("encoding"):
            parameters["encoding"] = self.encoding
        if self.accepts("path"):
            parameters.setdefault("path", ".")  # of a source that the dataset had not; each input takes its place
        plugin_schema.check(file, "Source.__init__", parameters, where=self.source)
        return datasets.opened(self.source, parameters)

    def source_file(self) -> Path:
        """The file of the source's code."""
        return plugins.file(DATASETS, self.source, "source")

    def accepts(self, parameter: str) -> bool:
        """Whether the source takes a parameter of this name."""
        return bool(self.source) and plugin_schema.accepts(self.source_file(), "Source.__init__", parameter)

    def numbered_lines(self, stream: Any, place: str, name: str, *, labelled: bool, several: bool) -> Iterator[NewItem]:
        """An item for each line of a binary stream, named by its number from 1."""
        if labelled:
            raise IceboxError(f"{place}: expected items with labels (a table, or folders of classes), found lines")
        lines = TextLines.of_dataset(
            self.modality,
            self.parameters,
            clean=self.clean,
            encoding=self.encoding,
            refuses_header=not self.lines and self.accepts("label"),
        )
        for number, content in enumerate(lines.read(stream, place), 1):
            item_id = f"{name}:{number}" if several else str(number)
            yield NewItem(item_id, f"{place}, line {number}", partial(identity, content))

    def other_kind(self, path: Path, name: str, *, labelled: bool) -> IceboxError:
        """The error for an input that is of no kind that this head takes, and the way to have it read."""
        kind = "a folder" if path.is_dir() else "a table" if has_table_ending(path) else "a file"
        labels = ", with labels" if labelled else ""
        hint = ""
        if kind == "a table" and self.modality == "image":
            hint = "; a table of paths is read by --source image_table --set image=COLUMN"
        elif kind == "a table" and self.modality == "text":
            hint = "; a column of it is read by --source csv_text --set text=COLUMN, its lines as texts by --lines"
        elif kind == "a table" and self.modality == "pair":
            hint = "; columns are read by --source csv_text --set first=COLUMN --set second=COLUMN"
        return IceboxError(f"{name}: expected {EXPECTED[self.modality]}{labels}, found {kind}{hint}")


def items_of_dataset(dataset: Dataset, path: Path, name: str, *, several: bool) -> Iterator[NewItem]:
    """The items of a dataset that lies at `path`. Ids of images in a folder are their paths, as the user gave them."""
    in_folder = path.is_dir() and dataset.modality == "image"
    items = dataset.items()
    first = next(items, None)
    if first is None and path.is_dir():
        raise IceboxError(f"{name}: expected images in this folder, found none")
    for item in chain([first] if first else [], items):
        place = f"{name.rstrip('/')}/{item.item_id}" if in_folder else f"{name}, item '{item.item_id}'"
        item_id = place if in_folder else f"{name}:{item.item_id}" if several else item.item_id
        read = partial(dataset.read, item.source)
        found = NewItem(item_id, place, read, label=item.label, group=item.group, split=item.split)
        if isinstance(dataset, DenseDataset):
            target = partial(dataset.target, item.source)
            found = replace(found, target=target, target_classes=lambda: dataset.classes)
        yield found
    for remark in dataset.account.remarks():
        logger.info("%s: %s", name, remark.sentence())


def identity(content: Content) -> Content:
    """A content that has been read already."""
    return content


def read_image(path: Path) -> bytes:
    """The bytes of an image file that was named itself; it may be hidden, or a link. Raises ItemError."""
    if not path.is_file():
        raise ItemError(f"can't be read: {missing(path)}")
    try:
        return path.read_bytes()
    except OSError as reason:
        raise ItemError(f"can't be read: {reason.strerror}") from None


def missing(path: Path) -> str:
    """Why there is no file at a path."""
    if path.is_symlink() and not path.exists():
        return f"is a link to a file that is not there ({path.readlink()})"
    return "expected a file, found a pipe or device" if path.exists() else "No such file or directory"


def printable(name: str) -> str:
    """A name that can be printed: a file's may be no Unicode."""
    return name.encode(errors="backslashreplace").decode()


def parse_setting(text: str) -> tuple[str, Any]:
    """`KEY=VALUE` → the key, and the value as YAML has it. Raises IceboxError for any other text."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise IceboxError(f"--set {text}: expected KEY=VALUE, such as text=body")
    try:
        return key, YAML(typ="safe", pure=True).load(value)
    except YAMLError as reason:
        raise IceboxError(f"--set {text}: {' '.join(str(reason).split())}") from None
