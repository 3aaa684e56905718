"""Boxes in COCO's JSON: images, annotations and categories of a split, or of all pictures, in one file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from icebox.features.abc.account import Account
from icebox.features.datasets.readers.boxes.annotation import Annotation, BoxedPicture, BoxReader
from icebox.features.datasets.readers.file_kinds import require_file
from icebox.features.datasets.readers.listed_images import ListedImages
from icebox.features.errors import IceboxError, located
from icebox.features.json_files import read_json
from icebox.features.names import in_line
from icebox.features.splits import canonical_split_name

SIDE = range(1 << 20)
LIMIT_BYTES = 1 << 30  # twice COCO's own train2017
SHAPE: dict[str, Any] = {
    "images": [{"id": int, "file_name": str}],
    "annotations": [{"image_id": int, "category_id": int, "bbox": [float]}],
    "categories": [{"id": int, "name": str}],
}


@dataclass(frozen=True, kw_only=True)
class CocoFiles(BoxReader):
    """COCO's files by split; their pictures lie below `root`, by the path in the file or by their name."""

    root: Path
    files: Mapping[str, Sequence[Path]]
    account: Account

    def pictures(self, account: Account) -> list[BoxedPicture]:
        """The images in the files' order."""
        return self._content.pictures

    def names(self) -> list[str]:
        """The categories of all files, in the order of their ids."""
        return self._content.names

    def annotation(self, path: str) -> Annotation:
        """The objects of a picture; crowds are ignored."""
        if path not in self._content.annotations:
            files = ", ".join(str(file) for of_split in self.files.values() for file in of_split)
            raise IceboxError(f"datasets: {path} is in none of {files}")
        return self._content.annotations[path]

    def file(self, path: str) -> str:
        """The JSON file that lists a picture."""
        return self.annotation(path).where

    @cached_property
    def _content(self) -> "CocoContent":
        """All files, one at a time: their JSON takes ten times as much memory as what is kept of it."""
        content, images = CocoContent(), ListedImages(self.root)
        for split, paths in self.files.items():
            for path in paths:
                document = read_document(path)
                of_id: dict[int, Annotation] = {}
                for image in document["images"]:
                    place = self._place(path, image["file_name"], images)
                    if place in content.annotations or image["id"] in of_id:
                        name = f"{in_line(image['file_name'])} (id {image['id']})"
                        raise IceboxError(f"datasets: {path}: image {name} stands there twice")
                    content.annotations[place] = of_id[image["id"]] = Annotation(where=str(path), size=size_of(image))
                    content.pictures.append(BoxedPicture(place, canonical_split_name(split)))
                names = {category["id"]: category["name"] for category in by_id(document["categories"])}
                content.names += [name for name in dict.fromkeys(names.values()) if name not in content.names]
                for number, each in enumerate(document["annotations"]):
                    with located(f"datasets: {path}: annotation {number}"):
                        add(of_id, names, each)
        return content

    def _place(self, file: Path, name: str, images: ListedImages) -> str:
        """The path of an image: relative to its file's folder, to the root, or found by its name.

        Of a path with more folders than there are here the end is looked for, too.
        """
        if self.root != file.parent and file.parent.is_relative_to(self.root):
            beside = (file.parent.relative_to(self.root) / name).as_posix()
            if images.exists(beside):
                return beside
        parts = name.replace("\\", "/").split("/")
        for end in (name, *("/".join(parts[start:]) for start in range(1, len(parts)))):
            place = images.find(end, self.account)
            if images.exists(place):
                return place
        return name


@dataclass
class CocoContent:
    """The parts of COCO's files that are kept."""

    pictures: list[BoxedPicture] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    annotations: dict[str, Annotation] = field(default_factory=dict)


def read_document(path: Path) -> Any:
    """The JSON of a file. Raises IceboxError for one that is missing, too large or no COCO."""
    require_file(path, "images, annotations and categories")
    if (size_bytes := path.stat().st_size) > LIMIT_BYTES:
        raise IceboxError(f"datasets: {path}: {size_bytes:,} bytes, at most {LIMIT_BYTES:,} are taken; split the file")
    with located("datasets"):
        document = read_json(path, SHAPE)
    if not document["images"]:
        raise IceboxError(f"datasets: {path}: expected images, found none")
    return document


def size_of(image: Mapping[str, Any]) -> tuple[int, int] | None:
    """Height and width where the file says them."""
    h, w = image.get("height"), image.get("width")
    return (h, w) if type(h) is int and type(w) is int and h > 0 and w > 0 and h in SIDE and w in SIDE else None


def add(of_id: Mapping[int, Annotation], names: Mapping[int, str], each: Mapping[str, Any]) -> None:
    """Add one annotation to its image's."""
    if each["image_id"] not in of_id:
        raise IceboxError(f"image_id {each['image_id']} is no image's")
    if each["category_id"] not in names:
        raise IceboxError(f"category_id {each['category_id']} is no category's")
    of_id[each["image_id"]].add(
        names[each["category_id"]], each["bbox"], kind="xywh", ignored=bool(each.get("iscrowd", 0))
    )


def by_id(categories: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Categories in the order of their ids."""
    return sorted(categories, key=lambda category: int(category["id"]))
