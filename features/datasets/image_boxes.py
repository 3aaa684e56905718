"""Pictures with boxes around objects: in COCO's JSON, VOC's XML, YOLO's text, or a table."""

from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Le, Len

from icebox.features.abc.dataset import Content, DenseDataset, Item
from icebox.features.abc.targets import Boxes
from icebox.features.buckets.path import common_folder, place
from icebox.features.datasets.readers.boxes.annotation import BoxReader
from icebox.features.datasets.readers.boxes.class_names import names_in, read_names
from icebox.features.datasets.readers.boxes.coco import CocoFiles
from icebox.features.datasets.readers.boxes.paired import PairedAnnotations
from icebox.features.datasets.readers.boxes.table import BoxTable
from icebox.features.datasets.readers.group_pattern import match_groups
from icebox.features.datasets.readers.image_files import list_image_files
from icebox.features.datasets.readers.listed_images import ListedImages
from icebox.features.datasets.readers.paired_files import PairedFiles, Template
from icebox.features.datasets.readers.tables.columns import named_columns
from icebox.features.datasets.readers.tables.table import Table, has_table_ending
from icebox.features.datasets.readers.tables.table_files import folder_of, paths_by_split
from icebox.features.errors import IceboxError, located
from icebox.features.images.bit_depth import scaled
from icebox.features.images.contrast import with_contrast
from icebox.features.images.dimensions import upright_size
from icebox.features.json_files import one_line

TASK = "detection"
Column = str | int  # a name, or a number from 0
Format = Literal["coco", "voc", "yolo", "table"]
VOC_LISTS = "ImageSets/Main/{split}.txt"
FOLDERS = {"voc": ("JPEGImages", "Annotations"), "yolo": ("images", "labels")}  # of pictures and of annotations


class Source(DenseDataset):
    """One item per picture; id and source are its path. Pictures without boxes are items, too.

    `format` is told by `path` where it can be: `coco` is a .json file, `table` a .csv, .tsv, .jsonl or .parquet, one or
    several, or {split: file}; `voc` is a folder with `Annotations`, `yolo` one with `labels`. COCO's crowds and VOC's
    difficult objects are neither learnt from nor scored.

    Pictures of COCO and of tables lie in `folder`, or else beside their file, and are found by their path there or by
    their name. In the folder of VOC and YOLO, `images` and `annotations` say where pictures and their files lie, with
    `{split}` and `{name}` (see image_masks); `lists` are text files with a picture's name a line, of VOC those in
    ImageSets/Main where they are. `splits` says which split a folder (or list) is, where not by its name, and leaves
    others out. `group` is a regular expression searched in each path (see image_folder), or the column of a table.

    `classes` are the names of the classes in order, or those in `class_file` (a line each, or YOLO's data.yaml); else
    COCO's categories by id, YOLO's names in data.yaml or classes.txt, and all labels, sorted, of VOC and tables. Other
    labels are an error, or with `unknown: drop` are left out. A table has a row for each box: `image`, `label` and the
    columns of `box`, which `box_kind` calls corners (xyxy), left upper corner and size (xywh) or centre and size
    (cxcywh), in pixels, or `normalized` to shares of width and height; a row with a picture alone is one without boxes.
    `bits` and `contrast` are those of image_folder; the other parameters are those of csv_text.
    """

    task = "detection"

    def __init__(
        self,
        *,
        path: Path | Sequence[Path] | dict[str, Path | Sequence[Path]],
        format: Format | None = None,
        classes: Sequence[str] | None = None,
        class_file: Path | None = None,
        unknown: Literal["error", "drop"] = "error",
        images: str | None = None,
        annotations: str | None = None,
        splits: dict[str, str] | None = None,
        lists: str | None = None,
        group: Column | None = None,
        folder: Path | None = None,
        image: Column = "image",
        label: Column = "label",
        box: Annotated[Sequence[Column], Len(4, 4)] = ("xmin", "ymin", "xmax", "ymax"),
        box_kind: Literal["xyxy", "xywh", "cxcywh"] = "xyxy",
        normalized: bool = False,
        split: Column | None = None,
        encoding: str = "utf-8",
        delimiter: str | None = None,
        quotes: bool | None = None,
        escape: str | None = None,
        header: bool = True,
        bits: Annotated[int, Ge(8), Le(16)] | None = None,
        contrast: Literal["none", "equalize", "clahe"] = "none",
    ) -> None:
        self.paths, self.format = paths_by_split(path), format
        self.class_names, self.class_file, self.unknown, self.bits = classes, class_file, unknown, bits
        self.images, self.annotations, self.splits, self.lists = images, annotations, splits, lists
        self.group, self.contrast = group, contrast
        self.own_folder = place(folder) if folder is not None else None
        self.columns = named_columns(image=image, label=label, split=split, group=group)
        self.box, self.box_kind, self.normalized = box, box_kind, normalized
        self.table = partial(
            Table, encoding=encoding, delimiter=delimiter, quotes=quotes, escape=escape, header=header
        )  # fmt: skip

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes."""
        return tuple(self._numbers)

    def items(self) -> Iterator[Item]:
        """The pictures by path, or in their file's order; raises IceboxError for files that are missing or damaged."""
        self.account.clear()
        self.__dict__.pop("_reader", None)  # which notes what it reads once
        if not self.labelled and self._first.is_dir() and not self._pairs.is_laid_out:
            for path in list_image_files(self._first, self.account).images:
                yield Item(item_id=str(path), source=str(path), label="")
            return
        pictures = self._reader.pictures(self.account)
        if self.labelled:
            _ = self._numbers
        groups = [picture.group for picture in pictures]
        if self.group is not None and self._format != "table":
            with located("datasets"):
                groups = match_groups([picture.path for picture in pictures], str(self.group))
        for picture, group in zip(pictures, groups, strict=True):
            yield Item(item_id=picture.path, source=picture.path, label="", split=picture.split, group=group)

    def read(self, source: str) -> Content:
        """The picture's bytes; raises IceboxError for a file that is missing, unreadable or outside the folder."""
        return with_contrast(scaled(self._listed.read(source), self.bits, source), self.contrast)

    def target(self, source: str) -> Boxes:
        """The boxes of a picture; raises IceboxError for a damaged file, and for labels that are no class."""
        annotation = self._reader.annotation(source)
        size = annotation.size or upright_size(self.read(source))
        if size is None:
            raise IceboxError(f"{annotation.where}: the picture {source} can't be read, whose size its boxes need")
        return annotation.boxes(self._numbers, size, self.account, source, unknown=self.unknown)

    def target_file(self, source: str) -> str:
        """The file with the picture's boxes."""
        return self._reader.file(source)

    def item_folder(self) -> Path | None:
        """The folder of a table or of COCO's file, where `folder` names no other: it may hold much else."""
        return self._root if self._format in ("coco", "table") and self.own_folder is None else None

    def elsewhere(self, path: Path, *, labelled: bool) -> "Source | None":
        """Pictures in another folder, or those of another file of this format; labelled, with their boxes."""
        further = {"paths": {"": [path]}, "labelled": labelled, "splits": None, "lists": None, "group": None}
        further |= {"columns": {key: self.columns[key] for key in ("image", "label")}}
        kind = self.format or self._format_by_ending
        if not path.is_dir():
            own = {each.suffix for paths in self.paths.values() for each in paths}
            return self._changed(**further) if kind in ("coco", "table") and path.suffix in own else None
        if labelled and kind in ("coco", "table"):
            return None
        return self._changed(**further, format=kind if labelled or kind in FOLDERS else "yolo", own_folder=None)

    @property
    def _first(self) -> Path:
        return next(iter(self.paths.values()))[0]

    @cached_property
    def _format(self) -> Format:
        if known := self.format or self._format_by_ending:
            return known
        for kind, (_, annotations) in FOLDERS.items():
            if (self._first / Template(self.annotations or annotations).folder / ".").is_dir():
                return "voc" if kind == "voc" else "yolo"
        raise IceboxError(
            f"datasets: {self._first} (looked in {Path.cwd()}): expected COCO's .json, a table, or a folder with "
            "Annotations (VOC) or labels (YOLO); put it there, or say `format`"
        )

    @property
    def _format_by_ending(self) -> Format | None:
        if self._first.suffix.lower() == ".json":
            return "coco"
        return "table" if has_table_ending(self._first) else None

    @cached_property
    def _root(self) -> Path:
        if self.own_folder is not None:
            return self.own_folder
        if self._format in FOLDERS:
            return self._first
        folders = [folder_of(path) for paths in self.paths.values() for path in paths]
        return common_folder(folders)

    @property
    def _pairs(self) -> PairedFiles:
        images, _ = FOLDERS["voc" if self._format == "voc" else "yolo"]
        lists = self.lists
        if lists is None and self._format == "voc" and (self._root / Template(VOC_LISTS).folder).is_dir():
            lists = VOC_LISTS
        return PairedFiles(
            root=self._root,
            images=Template(self.images or images),
            splits=self.splits,
            lists=lists,
            further=self.further,
        )

    @cached_property
    def _reader(self) -> BoxReader:
        if self._format == "coco":
            return CocoFiles(root=self._root, files=self.paths, account=self.account)
        if self._format == "table":
            return BoxTable(
                root=self._root,
                paths=self.paths,
                columns=self.columns,
                box=self.box,
                kind=self.box_kind,
                normalized=self.normalized,
                table=self.table,
                account=self.account,
            )
        _, annotations = FOLDERS[self._format]
        return PairedAnnotations(
            format=self._format,
            pictures_of=self._pairs,
            annotations=Template(self.annotations or annotations),
            classes=self._named() or tuple(names_in(self._root)) if self._format == "yolo" else (),
        )

    def _named(self) -> tuple[str, ...]:
        """The names that the settings give, if any."""
        if self.class_names is not None and self.class_file is not None:
            raise IceboxError("datasets: expected `classes` or `class_file`, found both")
        if self.class_file is not None:
            return tuple(read_names(place(self.class_file)))
        return tuple(self.class_names or ())

    @cached_property
    def _numbers(self) -> dict[str, int]:
        """{name of a class: its number}."""
        names = self._named() or tuple(self._reader.names())
        if len(set(names)) < len(names):
            raise IceboxError(
                f"datasets: classes: expected different names, found one twice: {one_line(', '.join(names))}"
            )
        if not names:
            raise IceboxError(f"datasets: {self._first}: expected boxes with labels, found none")
        return {name: number for number, name in enumerate(names)}

    @cached_property
    def _listed(self) -> ListedImages:
        return ListedImages(self._root)
