"""Images listed in a table: a CSV, TSV, JSON Lines or Parquet of path, label and perhaps split and group."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from icebox.features import files
from icebox.features.abc.dataset import Content, Dataset, Item, Modality
from icebox.features.datasets.readers.table_items import TableItems, named_columns, paths_by_split
from icebox.features.datasets.readers.tables import Table

Column = str | int  # a name, or a number from 0


class Source(Dataset):
    """One item per row, in the table's order; source, and id unless a column gives it, are the image's path."""

    modality: Modality = "image"

    def __init__(
        self,
        *,
        path: Path | dict[str, Path],
        folder: Path | None = None,
        image: Column = "path",
        label: Column = "label",
        drop_labels: Sequence[str | int] = (),
        split: Column | None = None,
        id: Column | None = None,
        group: Column | None = None,
        slices: Sequence[Column] = (),
        encoding: str = "utf-8",
        delimiter: str | None = None,
        quotes: bool | None = None,
        header: bool = True,
    ) -> None:
        """`path` is the table, or {split: table}; `image` the column of the images' paths.

        The paths are relative to `folder`, or else to the (first) table's own folder. The other parameters are those of
        csv_text.
        """
        paths = paths_by_split(path)
        self.beside_table = folder is None
        self.folder = Path(folder) if folder is not None else next(iter(paths.values())).parent
        self.image = image
        self.rows = TableItems(
            paths=paths,
            columns=named_columns(label=label, split=split, id=id, group=group),
            slices=slices,
            drop_labels=drop_labels,
            table=partial(Table, encoding=encoding, delimiter=delimiter, quotes=quotes, header=header),
        )

    def items(self) -> Iterator[Item]:
        """The items; raises IceboxError for a missing table, column, cell or label, a repeated id, a wrong encoding."""
        self.account.clear()
        contents = [("image", self.image)]
        return self.rows.items(contents, lambda cells: cells[0].strip(), self.account, named_by_source=True)

    def read(self, source: str) -> Content:
        """The image's bytes; raises IceboxError for a file that is missing, unreadable or outside the folder."""
        return files.read_contained(self.folder, source)

    def item_folder(self) -> Path | None:
        """The table's folder, where `folder` names no other: it may hold much else."""
        return self.folder if self.beside_table else None

    def elsewhere(self, path: Path, *, labelled: bool) -> "Source | None":
        """The images of another table; its paths are relative to `folder` where that was set, else to its own."""
        rows = self.rows.elsewhere(path, labelled=labelled)
        folder = path.parent if self.beside_table else self.folder
        return self._changed(rows=rows, folder=folder, labelled=labelled) if rows else None
