"""Images listed in a table: a CSV, TSV, JSON Lines or Parquet of path, label and perhaps split and group."""

from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Le

from icebox.features.abc.account import Account
from icebox.features.abc.dataset import Content, Dataset, Item, Modality
from icebox.features.buckets.path import place
from icebox.features.datasets.readers.listed_images import ListedImages
from icebox.features.datasets.readers.tables.columns import named_columns
from icebox.features.datasets.readers.tables.label_columns import label_columns
from icebox.features.datasets.readers.tables.parquet_rows import read_picture, reference
from icebox.features.datasets.readers.tables.table import Table
from icebox.features.datasets.readers.tables.table_files import folder_of, paths_by_split
from icebox.features.datasets.readers.tables.table_items import TableItems
from icebox.features.errors import IceboxError
from icebox.features.images.bit_depth import scaled
from icebox.features.images.contrast import with_contrast

Column = str | int  # a name, or a number from 0


class Source(Dataset):
    """One item per row, in the table's order; source, and id unless a column gives it, are the image's path."""

    modality: Modality = "image"

    def __init__(
        self,
        *,
        path: Path | Sequence[Path] | dict[str, Path | Sequence[Path]],
        folder: Path | None = None,
        image: Column = "path",
        label: Column | list[Column] | dict[str, Column] = "label",
        drop_labels: Sequence[str | int] = (),
        split: Column | None = None,
        id: Column | None = None,
        group: Column | None = None,
        slices: Sequence[Column] = (),
        encoding: str = "utf-8",
        delimiter: str | None = None,
        quotes: bool | None = None,
        escape: str | None = None,
        header: bool = True,
        bits: Annotated[int, Ge(8), Le(16)] | None = None,
        contrast: Literal["none", "equalize", "clahe"] = "none",
    ) -> None:
        """`path` is the table (see csv_text), or {split: table}; `image` the column of the images' paths, or in Parquet
        of the images themselves, as bytes or {bytes, path}.

        The paths are relative to `folder`, or else to the (first) table's own folder. `bits` and `contrast` are
        those of image_folder; the other parameters are those of csv_text.
        """
        paths = paths_by_split(path)
        self.beside_table = folder is None
        self.folder = place(folder) if folder is not None else folder_of(next(iter(paths.values()))[0])
        self.image = image
        self.bits = bits
        self.contrast = contrast
        column, sets = label_columns(label)
        self.label_sets = sets is not None
        self.rows = TableItems(
            paths=paths,
            columns=named_columns(label=column, split=split, id=id, group=group),
            slices=slices,
            drop_labels=drop_labels,
            sets=sets,
            table=partial(
                Table,
                encoding=encoding,
                delimiter=delimiter,
                quotes=quotes,
                escape=escape,
                header=header,
                pictures="image",
            ),
        )

    def items(self) -> Iterator[Item]:
        """The items; raises IceboxError for a missing table, column, cell or label, a repeated id, a wrong encoding."""
        self.account.clear()
        contents = [("image", self.image)]
        return self.rows.items(contents, self._source, self.account, named_by_source=True)

    def read(self, source: str) -> Content:
        """The image's bytes; raises IceboxError for a file that is missing, unreadable or outside the folder."""
        if not source:
            raise IceboxError(f"datasets: column {self.image!r} is empty; add the picture's path")
        if cell := reference(source):
            path, row = cell
            if path not in self._tables:
                raise IceboxError(f"datasets: {path} is none of the tables")
            picture = read_picture(path, self.image, row)
            if isinstance(picture, bytes):
                return with_contrast(scaled(picture, self.bits, source), self.contrast)
            source = picture
        return with_contrast(scaled(self._images.read(source), self.bits, source), self.contrast)

    def _source(self, cells: list[str], _place: str) -> tuple[str, None]:
        """The source of an item: the path of its image, or a reference to the cell that holds it."""
        cell = cells[0].strip()
        if not cell and self.labelled:
            raise IceboxError(f"column {self.image!r} is empty; add the picture's path, or leave such rows out")
        return cell if reference(cell) else self._images.find(cell, self.account), None

    @cached_property
    def _images(self) -> ListedImages:
        return ListedImages(self.folder)

    @cached_property
    def _tables(self) -> set[Path]:
        return {path for paths in self.rows.files(Account()).values() for path in paths}

    def content_file(self, source: str) -> Path | None:
        """The picture's file, or the table that holds it."""
        cell = reference(source)
        return self.folder / source if cell is None else None

    def item_folder(self) -> Path | None:
        """The table's folder, where `folder` names no other: it may hold much else."""
        return self.folder if self.beside_table else None

    def elsewhere(self, path: Path, *, labelled: bool) -> "Source | None":
        """The images of another table; its paths are relative to `folder` where that was set, else to its own."""
        rows = self.rows.elsewhere(path, labelled=labelled)
        folder = path.parent if self.beside_table else self.folder
        return self._changed(rows=rows, folder=folder, labelled=labelled) if rows else None
