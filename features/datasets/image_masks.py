"""Pictures with a mask each, a PNG of class numbers or colours: in folders, or listed in a table."""

from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Le

from icebox.features import files
from icebox.features.abc.account import Account
from icebox.features.abc.dataset import Content, DenseDataset, Item
from icebox.features.abc.targets import IGNORED, Mask
from icebox.features.buckets.path import place
from icebox.features.datasets.readers.class_values import UNKNOWN, ClassValues, class_values, read_class_file
from icebox.features.datasets.readers.group_pattern import match_groups
from icebox.features.datasets.readers.image_files import list_image_files
from icebox.features.datasets.readers.listed_images import ListedImages
from icebox.features.datasets.readers.mask_pixels import mask_values
from icebox.features.datasets.readers.paired_files import PairedFiles, Picture, Template
from icebox.features.datasets.readers.tables.columns import named_columns
from icebox.features.datasets.readers.tables.table import Table, has_table_ending
from icebox.features.datasets.readers.tables.table_files import folder_of, paths_by_split
from icebox.features.datasets.readers.tables.table_items import TableItems
from icebox.features.errors import IceboxError, located
from icebox.features.images.bit_depth import scaled
from icebox.features.images.contrast import with_contrast

TASK = "segmentation"
Column = str | int  # a name, or a number from 0
Names = Sequence[str] | dict[int, str]
Colors = Sequence[Sequence[int]] | dict[str, Sequence[int]]


class Source(DenseDataset):
    """One item per picture; id and source are its path. Its mask has the same name elsewhere, or stands in its row.

    `path` is a folder, or a table (.csv, .tsv, .jsonl, .parquet, one or several, or {split: table}). In a folder,
    `images` and `masks` say where both lie, with `{split}` for the split's folder and `{name}` for what they have in
    common; in a table, `image` and `mask` are the columns of their paths, relative to `folder` or else to the table's.
    `splits` says which split a folder (or list) is, where not by its name, and leaves others out; `lists` are text
    files with a picture's name a line, `ImageSets/Segmentation/{split}.txt` of VOC. `group` is a regular expression
    searched in each path (see image_folder), or the column of a table.

    `classes` are the names in the order of the masks' values, or {value: name}, where values may share a name;
    `class_file` is a file of names instead, a line each, perhaps with colours (`128 64 128 road` or `road,128,64,128`).
    `offset` is the value of the first class: 1 where 0 is unlabelled, as in ADE20K, with `ignore: 0`. `colors` are
    [r, g, b] in the order of the classes, or {name: [r, g, b]}, where masks are pictures of colours. `ignore` are
    values, or names of classes, that are neither learnt from nor scored. Other values are an error, or with
    `unknown: ignore` are ignored, too. `bits` and `contrast` are those of image_folder; the other parameters are
    those of csv_text.
    """

    task = "segmentation"

    def __init__(
        self,
        *,
        path: Path | Sequence[Path] | dict[str, Path | Sequence[Path]],
        classes: Names | None = None,
        class_file: Path | None = None,
        colors: Colors | None = None,
        offset: Annotated[int, Ge(0)] = 0,
        ignore: int | str | Sequence[int | str] = 255,
        unknown: Literal["error", "ignore"] = "error",
        images: str = "images",
        masks: str = "masks",
        splits: dict[str, str] | None = None,
        lists: str | None = None,
        group: Column | None = None,
        folder: Path | None = None,
        image: Column = "image",
        mask: Column = "mask",
        split: Column | None = None,
        id: Column | None = None,
        slices: Sequence[Column] = (),
        encoding: str = "utf-8",
        delimiter: str | None = None,
        quotes: bool | None = None,
        escape: str | None = None,
        header: bool = True,
        bits: Annotated[int, Ge(8), Le(16)] | None = None,
        contrast: Literal["none", "equalize", "clahe"] = "none",
    ) -> None:
        self.class_names, self.class_file, self.colors, self.offset = classes, class_file, colors, offset
        self.ignore = [ignore] if isinstance(ignore, int | str) else list(ignore)
        self.unknown, self.bits, self.contrast = unknown, bits, contrast
        self.images, self.masks, self.group = Template(images), Template(masks), group
        self.splits, self.lists = splits, lists
        paths = paths_by_split(path)
        first = next(iter(paths.values()))[0]
        self.folder = first if is_folder(paths) else place(folder) if folder is not None else folder_of(first)
        self.beside_table = folder is None
        self.contents = [("image", image), ("mask", mask)]
        self.rows = None if is_folder(paths) else TableItems(
            paths=paths,
            columns=named_columns(split=split, id=id, group=group),
            slices=slices,
            drop_labels=(),
            table=partial(
                Table, encoding=encoding, delimiter=delimiter, quotes=quotes, escape=escape, header=header
            ),
        )  # fmt: skip

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the settings, without those that are ignored."""
        return self._values.names

    def items(self) -> Iterator[Item]:
        """The pictures, by path or in the table's order; raises IceboxError for missing files and unclear settings."""
        self.account.clear()
        _ = self._values
        if self.rows:
            contents = self.contents if self.labelled else self.contents[:1]
            yield from self.rows.items(contents, self._table_source, self.account, named_by_source=True)
            return
        if not (self.labelled or self._files.is_laid_out):
            for path in list_image_files(self.folder, self.account).images:
                yield Item(item_id=str(path), source=str(path), label="")
            return
        pictures = self._files.pictures(self.account)
        self._note_lone_masks(pictures)
        names = [picture.path for picture in pictures]
        with located("datasets"):
            groups = match_groups(names, str(self.group)) if self.group is not None else [""] * len(names)
        for picture, group in zip(pictures, groups, strict=True):
            yield Item(item_id=picture.path, source=picture.path, label="", split=picture.split, group=group)

    def read(self, source: str) -> Content:
        """The picture's bytes; raises IceboxError for a file that is missing, unreadable or outside the folder."""
        return with_contrast(scaled(self._listed.read(source), self.bits, source), self.contrast)

    def target(self, source: str) -> Mask:
        """The mask of a picture; raises IceboxError for one that is missing, no PNG, or has values of no class."""
        name = self.target_file(source)
        try:
            content = files.read_contained(self.folder, name)
        except IceboxError as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                raise
            raise IceboxError(
                f"datasets: {self.folder / name}: there is no such mask, which {source} needs; put it there, or "
                f"correct {'the table' if self.rows else '`masks`'}"
            ) from error.__cause__
        shown = f"datasets: {self.folder / name}"
        values = mask_values(content, shown, colors=self._values.colors)
        numbers = self._values.apply(values)
        unknown = numbers == UNKNOWN
        if unknown.any():
            listed = self._values.unknown(values[unknown])
            if self.unknown == "error":
                raise IceboxError(
                    f"{shown}: expected values of classes or ignored ones, found {listed} ({int(unknown.sum()):,} "
                    "pixels); name them in `classes` or `ignore`, or set `unknown: ignore`"
                )
            self.account.note("unknown_values", "masks with values that are no class, ignored", f"{name} ({listed})")
            numbers = np.where(unknown, np.int16(IGNORED), numbers)
        return Mask(numbers)

    def target_file(self, source: str) -> str:
        """The path of the picture's mask."""
        if self.rows:
            if source not in self._masks_of_table:
                raise IceboxError(f"datasets: {source} is none of the table's pictures")
            return self._masks_of_table[source]
        found = self.images.match(source)
        if found is None:
            raise IceboxError(f"datasets: {source} is no path by `images`, {self.images.whole}")
        return self.masks.path(*found, ".png")

    def item_folder(self) -> Path | None:
        """The table's folder, where `folder` names no other: it may hold much else."""
        return self.folder if self.rows and self.beside_table else None

    def item_files(self, source: str) -> Sequence[str]:
        """The picture and its mask."""
        return [source, self.target_file(source)]

    def elsewhere(self, path: Path, *, labelled: bool) -> "Source | None":
        """Pictures in another folder, or in another table; labelled, with masks where this dataset has them."""
        if self.rows:
            rows = self.rows.elsewhere(path, labelled=labelled)
            folder = path.parent if self.beside_table else self.folder
            return self._changed(rows=rows, folder=folder, labelled=labelled) if rows else None
        if not path.is_dir():
            return None
        return self._changed(folder=path, labelled=labelled, group=None)

    def _table_source(self, cells: list[str], _place: str) -> tuple[str, None]:
        """The picture's path; its mask's is noted."""
        if self.labelled and not all(cell.strip() for cell in cells):
            key, column = self.contents[bool(cells[0].strip())]
            raise IceboxError(f"column {column!r} is empty; add the path of the {key}, or leave such rows out")
        image, *mask = [self._listed.find(cell.strip(), self.account) for cell in cells]
        if mask and self._pairs.setdefault(image, mask[0]) != mask[0]:
            raise IceboxError(f"{image} has two masks, {self._pairs[image]} and {mask[0]}; leave one of the rows out")
        return image, None

    def _note_lone_masks(self, pictures: Sequence[Picture]) -> None:
        """Note the masks of no picture, where every picture of the folder is taken."""
        folder = self.folder / self.masks.folder
        if self.splits is not None or self.lists or not folder.is_dir() or self.masks.folder == self.images.folder:
            return
        used = {self.masks.path(picture.folder, picture.name, ".png") for picture in pictures}
        for mask in list_image_files(folder, Account()).images:
            path = str(Path(self.masks.folder) / mask)
            if path not in used and self.masks.match(path):
                self.account.note("lone_masks", "masks without a picture, passed over", path)

    @cached_property
    def _values(self) -> ClassValues:
        names, colors = self.class_names, self.colors
        if (names is None) == (self.class_file is None):
            raise IceboxError(
                "datasets: expected `classes` or `class_file`, one of both: the names of the masks' classes"
            )
        if self.class_file is not None:
            names, file_colors = read_class_file(place(self.class_file))
            colors = colors or file_colors
        return class_values(names or (), colors=colors, offset=self.offset, ignore=self.ignore)

    @cached_property
    def _files(self) -> PairedFiles:
        return PairedFiles(
            root=self.folder, images=self.images, splits=self.splits, lists=self.lists, further=self.further
        )

    @cached_property
    def _listed(self) -> ListedImages:
        return ListedImages(self.folder)

    @cached_property
    def _pairs(self) -> dict[str, str]:
        """{picture: mask} of the table's rows as they are read."""
        return {}

    @cached_property
    def _masks_of_table(self) -> dict[str, str]:
        """{picture: mask} of the whole table, which is read where `items` was not."""
        if not self._pairs:
            for _ in self.items():
                pass
        return self._pairs


def is_folder(paths: dict[str, list[Path]]) -> bool:
    """Whether these paths are one folder of pictures, not tables."""
    return list(paths) == [""] and len(paths[""]) == 1 and not (
        has_table_ending(paths[""][0]) or paths[""][0].is_file()
    )  # fmt: skip
