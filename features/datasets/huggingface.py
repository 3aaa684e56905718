"""A Hugging Face dataset of images, texts or pairs of texts: by its name on the hub, or saved to disk.

Needs the library `datasets`, which Icebox does not install by itself: `pip install datasets`.
"""

import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from annotated_types import Ge, Le

from icebox.features import files
from icebox.features.abc.dataset import Content, Dataset, Item, Modality, Pair
from icebox.features.buckets.path import BucketPath, place
from icebox.features.datasets.readers.dropped_labels import DroppedLabels, note_dropped
from icebox.features.datasets.readers.tables.cells import LIST, as_text, cell_text
from icebox.features.datasets.readers.tables.label_columns import label_columns, without_dropped
from icebox.features.errors import IceboxError
from icebox.features.splits import PUBLISHED_NAMES, canonical_split_name
from icebox.features.text.cleaning import clean

if TYPE_CHECKING:
    import datasets

COMMIT = re.compile(r"[0-9a-f]{40}")  # of a branch or a tag the hub may say another one tomorrow
Step = Literal["full_stop", "hashtags", "html", "links", "lower", "mentions", "repeats", "spaces"]


class Source(Dataset):
    """One item per row, in the dataset's order; ids and sources are `SPLIT/ROW` (its own name of the split)."""

    def __init__(
        self,
        *,
        name: str | None = None,
        subset: str | None = None,
        revision: str | None = None,
        path: Path | None = None,
        splits: dict[str, str] | None = None,
        image: str | None = None,
        text: str | Sequence[str] | None = None,
        first: str | None = None,
        second: str | None = None,
        label: str | list[str] | dict[str, str] = "label",
        drop_labels: Sequence[str | int] = (),
        group: str | None = None,
        slices: Sequence[str] = (),
        clean: Sequence[Step] = (),
        bits: Annotated[int, Ge(8), Le(16)] | None = None,
        contrast: Literal["none", "equalize", "clahe"] = "none",
    ) -> None:
        """`name` is a dataset on the hub (downloaded, at `revision`; `subset` is its configuration) or `path` a folder
        that `save_to_disk` wrote.

        `splits` maps the dataset's splits to ours, `{train: train, validation_matched: test}`; None: all, by their
        names. The other keywords name columns: one of `image`, `text` (several are joined by newlines) or `first` and
        `second`. Labels of a ClassLabel are its names; `label`, `drop_labels`, `slices` and `clean` are those of
        csv_text, `bits` and `contrast` are those of image_folder.
        """
        if (name is None) == (path is None):
            raise IceboxError("datasets: expected either `name` (on the hub) or `path` (of a folder saved to disk)")
        self.name, self.subset, self.revision = name, subset, revision
        self.path = None if path is None else place(path)
        self.splits = splits
        self.bits = bits
        self.contrast = contrast
        columns: dict[Modality, list[str | None]] = {
            "image": [image],
            "text": [text] if text is None or isinstance(text, str) else list(text),
            "pair": [first, second],
        }
        modalities = [modality for modality, names in columns.items() if names.count(None) < len(names)]
        if len(modalities) != 1 or None in columns[modalities[0]]:
            raise IceboxError("datasets: expected `image`, or `text`, or `first` and `second`, and only one of these")
        self.modality = modalities[0]
        self.contents = [column for column in columns[self.modality] if column is not None]
        self.label, self.sets = label_columns(label)
        self.label_sets = self.sets is not None
        self.drop_labels = list(drop_labels)
        self.group = group
        self.slices = list(slices)
        self.clean = tuple(clean)

    def items(self) -> Iterator[Item]:
        """The items; raises IceboxError for a dataset that can't be loaded, a missing column or a missing label."""
        self.account.clear()
        dropped_labels = DroppedLabels(self.drop_labels)
        for split, table in self._tables.items():
            labels = self._labels(split, table, dropped_labels)
            groups = self._column(table, self.group) if self.group else [""] * len(labels)
            slices = {name: self._column(table, name) for name in self.slices}
            for row, label in enumerate(labels):
                if label is None:
                    continue
                if self.labelled and not self.sets and dropped_labels.drops(label):
                    note_dropped(self.account, label, f"{split}/{row}")
                    continue
                if self.labelled and not label:
                    raise IceboxError(
                        f"datasets: {self._where}, split '{split}', row {row}: no label; leave this split out with "
                        "`splits`, or such rows with `drop_labels: ['']`"
                    )
                yield Item(
                    item_id=f"{split}/{row}" if split else str(row),
                    source=f"{split}/{row}",
                    label=label,
                    split=self.splits[split] if self.splits else canonical_split_name(split),
                    group=groups[row],
                    slices={name: values[row] for name, values in slices.items()},
                )
        if not self.further:
            dropped_labels.conclude()

    def read(self, source: str) -> Content:
        """An image's bytes, a text or a pair."""
        split, _, row = source.rpartition("/")
        if split not in self._tables or not row.isdecimal() or int(row) >= len(self._tables[split]):
            raise IceboxError(f"datasets: {self._where} has no row '{source}'")
        cells = self._tables[split][int(row)]
        if self.modality == "image":
            from icebox.features.images.bit_depth import scaled
            from icebox.features.images.contrast import with_contrast

            picture = scaled(self._image(cells[self.contents[0]], source), self.bits, source)
            return with_contrast(picture, self.contrast)
        texts = [clean(as_text(cells[name], f"{self._where}, {source}", name), self.clean) for name in self.contents]
        return Pair(*texts) if self.modality == "pair" else "\n".join(texts)

    def content_settings(self) -> dict[str, Any] | None:
        """Those that choose and clean the cells of a row, of a dataset at a commit of the hub."""
        if self.path is not None or not COMMIT.fullmatch(self.revision or ""):
            return None
        of_rows = {"name": self.name, "subset": self.subset, "revision": self.revision, "columns": list(self.contents)}
        return of_rows | {"clean": list(self.clean), "bits": self.bits, "contrast": self.contrast}

    def elsewhere(self, path: Path, *, labelled: bool) -> "Source | None":
        """The rows of another folder that `save_to_disk` wrote, all its splits together."""
        if not any((path / name).is_file() for name in ("state.json", "dataset_dict.json")):
            return None
        return self._changed(name=None, path=path, splits=None, slices=[], group=None, labelled=labelled)

    def _image(self, cell: Any, source: str) -> bytes:
        """The bytes of an image, not decoded."""
        if not isinstance(cell, dict) or not (cell.get("bytes") or cell.get("path")):
            raise IceboxError(f"datasets: {self._where}, {source}: column '{self.contents[0]}' holds no picture")
        content: bytes | None = cell["bytes"]
        if content:
            return content
        # a table that somebody saved may name files beside it and no others; one of the hub may name its own cache
        return files.read_contained(self.path or Path(cell["path"]).parent, cell["path"])

    @property
    def _where(self) -> str:
        return self.name or str(self.path)

    @cached_property
    def _tables(self) -> "dict[str, datasets.Dataset]":
        """{the dataset's name of a split: its rows}; the key is "" for a dataset without splits."""
        library = import_datasets()
        loaded = self._load(library)
        tables = loaded if isinstance(loaded, dict) else {"": loaded}
        names = self.splits if self.splits is not None else tables
        missing = [split for split in names if split not in tables]
        unknown = [split for split in names if self.splits is None and split and not is_known_split(split)]
        if missing or unknown:
            raise IceboxError(
                f"datasets: {self._where}: splits are {', '.join(tables) or 'none'}; expected names such as train, "
                f"validation and test: say what {', '.join(missing or unknown)} is with `splits: {{THEIRS: OURS}}`"
            )
        columns = {
            *self.contents,
            *(self._label_columns if self.labelled else []),
            *self.slices,
            *([self.group] if self.group else []),
        }
        return {split: self._select(tables[split], sorted(columns), library) for split in names}

    def _select(self, table: Any, columns: list[str], library: Any) -> Any:
        """The table with these columns only, images not decoded."""
        for name in columns:
            if name not in table.column_names:
                raise IceboxError(
                    f"datasets: {self._where} has no column '{name}'; there are: {', '.join(table.column_names)}"
                )
        table = table.with_format(None).select_columns(columns)
        if self.modality == "image" and isinstance(table.features[self.contents[0]], library.Image):
            table = table.cast_column(self.contents[0], library.Image(decode=False))
        return table

    def _load(self, library: Any) -> Any:
        """A `datasets.Dataset`, or a dictionary of them."""
        try:
            if isinstance(self.path, BucketPath):
                raise IceboxError(f"datasets: {self._where}: expected a folder on this machine; copy it here")
            if self.path is not None:
                return library.load_from_disk(str(self.path))
            return library.load_dataset(self.name, self.subset, revision=self.revision)
        except IceboxError:
            raise
        except Exception as error:  # no network, a wrong name, a script, no such folder: the way out is the same
            hint = (
                "expected a folder that `save_to_disk` wrote"
                if self.path is not None
                else "where the hub can be reached, load_dataset(…).save_to_disk(FOLDER), then give `path: FOLDER`"
            )
            raise IceboxError(f"datasets: can't load {self._where}: {' '.join(str(error).split())}; {hint}") from error

    @property
    def _label_columns(self) -> list[str]:
        """The columns of the labels."""
        return [str(column) for column in (self.sets.columns if self.sets else [self.label])]

    def _labels(self, split: str, table: Any, dropped: DroppedLabels) -> Sequence[str | None]:
        """The label of each row; None for a row without one that is to be left out, where labels are sets."""
        if not self.labelled:
            return [""] * len(table)
        columns = [self._column(table, name) for name in self._label_columns]
        if not self.sets:
            return columns[0]
        rows = [f"{self._where}, {split}/{row}" for row in range(len(table))]
        return [
            without_dropped(self.sets.names(cells, row, self.account), dropped, row, self.account)
            for row, cells in zip(rows, zip(*columns, strict=True), strict=True)
        ]

    def _column(self, table: Any, name: str) -> list[str]:
        """A column as text; the numbers of a ClassLabel become its names, and lists of names JSON where labels are
        sets."""
        values, feature = list(table[name]), table.features[name]
        class_label = import_datasets().ClassLabel
        if isinstance(feature, class_label):
            return ["" if value is None or value < 0 else feature.names[value] for value in values]
        of_elements = getattr(feature, "feature", None)
        if isinstance(of_elements, class_label):
            values = [value if value is None else [of_elements.names[number] for number in value] for value in values]
        key = LIST if self.sets and name in self._label_columns else ""
        return [cell_text(value, f"{self._where}, row {row}", name, key) for row, value in enumerate(values)]


def is_known_split(split: str) -> bool:
    """Whether the name of a split corresponds to one of our splits."""
    return canonical_split_name(split) in PUBLISHED_NAMES.values()


def import_datasets() -> Any:
    """The library `datasets`; raises IceboxError, which says how to install it, where it is missing."""
    try:
        import datasets
    except ImportError as error:
        raise IceboxError(
            "datasets: source huggingface needs the library `datasets`, which is not installed: pip install datasets"
        ) from error
    return datasets
