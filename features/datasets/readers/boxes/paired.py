"""Boxes in a file for each picture: VOC's XML, or YOLO's text."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree

from icebox.features.abc.account import Account
from icebox.features.datasets.readers.boxes.annotation import Annotation, BoxedPicture, BoxReader
from icebox.features.datasets.readers.contained_text import read_limited, read_lines
from icebox.features.datasets.readers.paired_files import PairedFiles, Template
from icebox.features.errors import IceboxError
from icebox.features.json_files import one_line
from icebox.features.names import in_line

XML_BYTES = 1 << 21  # thousands of objects
SHARE_MAX = 2.0  # of YOLO's numbers: larger ones are pixels
ENDINGS = {"voc": ".xml", "yolo": ".txt"}


@dataclass(frozen=True, kw_only=True)
class PairedAnnotations(BoxReader):
    """Pictures and an annotation file each; of YOLO `classes` are the names by number, and no file is no object."""

    format: Literal["voc", "yolo"]
    pictures_of: PairedFiles
    annotations: Template
    classes: tuple[str, ...] = ()

    def pictures(self, account: Account) -> list[BoxedPicture]:
        """The pictures by path."""
        return [BoxedPicture(picture.path, picture.split) for picture in self.pictures_of.pictures(account)]

    def names(self) -> list[str]:
        """YOLO's classes; of VOC the sorted names of all pictures' objects."""
        return list(self.classes) if self.format == "yolo" else self._names

    @cached_property
    def _names(self) -> list[str]:
        pictures = self.pictures(Account())
        readable = [path for each in pictures if (self.root / self.file(path := each.path)).is_file()]
        return sorted({label for path in readable for label in self.annotation(path).labels})

    @property
    def root(self) -> Path:
        """The folder that all paths are relative to."""
        return self.pictures_of.root

    def annotation(self, path: str) -> Annotation:
        """The objects of a picture."""
        name = self.file(path)
        if not (self.root / name).exists():
            if self.format == "yolo":
                return Annotation(where=f"datasets: {self.root / name}", normalized=True)
            raise IceboxError(
                f"datasets: {self.root / name}: there is no such file, which {path} needs; put it there, or correct "
                "`annotations`"
            )
        return self._voc(name) if self.format == "voc" else self._yolo(name)

    def file(self, path: str) -> str:
        """The annotation file of a picture."""
        found = self.pictures_of.images.match(path)
        if found is None:
            raise IceboxError(f"datasets: {path} is no path by `images`, {self.pictures_of.images.whole}")
        return self.annotations.path(*found, ENDINGS[self.format])

    def _voc(self, name: str) -> Annotation:
        where = f"datasets: {self.root / name}"
        document = parse_xml(read_limited(self.root, name, limit_bytes=XML_BYTES), where)
        size = [text_of(document, f"size/{side}") for side in ("height", "width")]
        h, w = (int(side) if side.isascii() and side.isdigit() and len(side) < 8 else 0 for side in size)
        annotation = Annotation(where=where, size=(h, w) if h and w else None)
        for number, element in enumerate(document.iterfind("object")):
            label = text_of(element, "name")
            corners = [text_of(element, f"bndbox/{side}") for side in ("xmin", "ymin", "xmax", "ymax")]
            if not label or not all(corners):
                raise IceboxError(
                    f"{where}: object {number}: expected name and bndbox with xmin, ymin, xmax and ymax, found "
                    f"{in_line(label) or 'no name'} {', '.join(map(in_line, corners))}"
                )
            annotation.add(label, corners, ignored=text_of(element, "difficult") == "1")
            left, upper, right, lower = annotation.corners[-1]
            # VOC counts pixels from 1, and its last one belongs to the box; a file that counts from 0 is clipped
            annotation.corners[-1] = (left - 1, upper - 1, right, lower)
        return annotation

    def _yolo(self, name: str) -> Annotation:
        where = f"datasets: {self.root / name}"
        annotation = Annotation(where=where, normalized=True)
        for line in read_lines(self.root, name):
            label, *numbers = line.split()
            if len(numbers) != 4:
                raise IceboxError(f"{where}: expected lines of class, cx, cy, width, height, found '{in_line(line)}'")
            if label.isascii() and label.isdigit() and len(label) < 8 and int(label) < len(self.classes):
                label = self.classes[int(label)]
            elif label not in self.classes:
                raise IceboxError(
                    f"{where}: expected a class of 0 to {len(self.classes) - 1}, found '{in_line(label)}'; correct "
                    "`classes` or the file"
                )
            annotation.add(label, numbers, kind="cxcywh")
            if max(map(abs, annotation.corners[-1])) > SHARE_MAX:
                raise IceboxError(f"{where}: expected shares of the picture's sides, 0 to 1, found '{in_line(line)}'")
        return annotation


class PlainTree(ElementTree.TreeBuilder):
    """Builds the tree of XML without a document type, which alone could define entities that grow without end."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        """Refuse the declaration, before what it defines is read."""
        raise IceboxError("expected XML without a document type (<!DOCTYPE …>), found one; take it out")


def parse_xml(content: bytes, where: str) -> ElementTree.Element:
    """The root of a small XML file. Raises IceboxError for one that is damaged, or has a document type."""
    try:
        return ElementTree.fromstring(content, ElementTree.XMLParser(target=PlainTree()))
    except IceboxError as error:
        raise error.at(where) from error
    except (ElementTree.ParseError, ValueError, LookupError, RecursionError) as reason:  # LookupError: the encoding
        raise IceboxError(f"{where}: expected XML, found {one_line(reason)}") from reason


def text_of(element: ElementTree.Element, path: str) -> str:
    """The text at a path below an element, "" where there is none."""
    return (element.findtext(path) or "").strip()
