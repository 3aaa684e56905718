"""Boxes in a table: a row each, with the picture's path, the label and four numbers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from icebox.features.abc.account import Account
from icebox.features.datasets.readers.boxes.annotation import Annotation, BoxedPicture, BoxKind, BoxReader
from icebox.features.datasets.readers.listed_images import ListedImages
from icebox.features.datasets.readers.tables.columns import Column
from icebox.features.datasets.readers.tables.table import Table
from icebox.features.datasets.readers.tables.table_files import table_files
from icebox.features.errors import IceboxError, located
from icebox.features.splits import canonical_split_name


@dataclass(frozen=True, kw_only=True)
class BoxTable(BoxReader):
    """Tables by split. `columns` are image, label and, optionally, split and group; `box` the four of the numbers.

    A row without label and numbers is a picture without boxes.
    """

    root: Path
    paths: Mapping[str, Sequence[Path]]
    columns: Mapping[str, Column]
    box: Sequence[Column]
    kind: BoxKind
    normalized: bool
    table: Callable[..., Table]
    account: Account

    def pictures(self, account: Account) -> list[BoxedPicture]:
        """The pictures in the order of their first rows."""
        return list(self._rows[0].values())

    def names(self) -> list[str]:
        """The sorted labels."""
        return sorted({label for annotation in self._rows[1].values() for label in annotation.labels})

    def annotation(self, path: str) -> Annotation:
        """The objects of a picture."""
        if path not in self._rows[1]:
            raise IceboxError(f"datasets: {path} is none of the table's pictures")
        return self._rows[1][path]

    def file(self, path: str) -> str:
        """The table that lists a picture."""
        return self.annotation(path).where.removeprefix("datasets: ")

    @cached_property
    def _rows(self) -> tuple[dict[str, BoxedPicture], dict[str, Annotation]]:
        images = ListedImages(self.root)
        places: dict[str, str] = {}
        pictures: dict[str, BoxedPicture] = {}
        annotations: dict[str, Annotation] = {}
        columns = [*self.columns.items(), *(("box", column) for column in self.box)]
        for split, paths in table_files(self.paths, self.account, by_name="split" not in self.columns).items():
            for path in paths:
                for row in self.table(path=path).rows(columns, self.account):
                    cells = dict(zip(self.columns, row.cells, strict=False))
                    with located(f"datasets: {row.where}"):
                        image = cells["image"].strip()
                        if not image:
                            raise IceboxError(f"column {self.columns['image']!r} is empty; add the picture's path")
                        place = places.setdefault(image, "") or images.find(image, self.account)
                        places[image] = place
                        own_split = split or canonical_split_name(cells.get("split", ""))
                        picture = BoxedPicture(place, own_split, cells.get("group", ""))
                        if pictures.setdefault(place, picture) != picture:
                            raise IceboxError(f"{place} has another split or group than in an earlier row")
                        of_picture = annotations.setdefault(place, Annotation(where=f"datasets: {path}"))
                        of_picture.normalized = self.normalized
                        self._add(of_picture, cells["label"].strip(), row.cells[len(cells) :])
        return pictures, annotations

    def _add(self, annotation: Annotation, label: str, numbers: Sequence[str]) -> None:
        if not label and not any(number.strip() for number in numbers):
            return
        if not label:
            raise IceboxError(f"column {self.columns['label']!r} is empty beside a box; add the label")
        annotation.add(label, numbers, kind=self.kind)
