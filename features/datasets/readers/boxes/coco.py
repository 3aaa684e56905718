"""Boxes in COCO's JSON: images, annotations and categories of a split, or of all pictures, in one file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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

    def pictures(self, account: Account) -> list[BoxedPicture]:
        """The images in the files' order."""
        pictures = []
        for split, path, document in self._documents:
            for image in document["images"]:
                pictures.append(BoxedPicture(self._place(path, image["file_name"], account), split))
        return pictures

    def names(self) -> list[str]:
        """The categories of all files, in the order of their ids."""
        categories = [each for _, _, document in self._documents for each in by_id(document["categories"])]
        return list(dict.fromkeys(category["name"] for category in categories))

    def annotation(self, path: str) -> Annotation:
        """The objects of a picture; crowds are ignored."""
        if path not in self._annotations:
            raise IceboxError(f"datasets: {path} is in none of {', '.join(map(str, self._paths))}")
        return self._annotations[path]

    def file(self, path: str) -> str:
        """The JSON file that lists a picture."""
        return self._annotations[path].where if path in self._annotations else str(self._paths[0])

    @property
    def _paths(self) -> list[Path]:
        return [path for paths in self.files.values() for path in paths]

    def _place(self, file: Path, name: str, account: Account) -> str:
        """The path of an image: relative to its file's folder, to the root, or found by its name."""
        if self.root != file.parent and file.parent.is_relative_to(self.root):
            beside = (file.parent.relative_to(self.root) / name).as_posix()
            if self._images.exists(beside):
                return beside
        return self._images.find(name, account)

    @cached_property
    def _images(self) -> ListedImages:
        return ListedImages(self.root)

    @cached_property
    def _documents(self) -> list[tuple[str, Path, Any]]:
        return [
            (canonical_split_name(split), path, read_document(path))
            for split, paths in self.files.items()
            for path in paths
        ]

    @cached_property
    def _annotations(self) -> dict[str, Annotation]:
        found: dict[str, Annotation] = {}
        for _, path, document in self._documents:
            of_id: dict[int, Annotation] = {}
            for image in document["images"]:
                place = self._place(path, image["file_name"], Account())
                if place in found or image["id"] in of_id:
                    raise IceboxError(
                        f"datasets: {path}: image {in_line(image['file_name'])} (id {image['id']}) stands there twice"
                    )
                found[place] = of_id[image["id"]] = Annotation(where=str(path), size=size_of(image))
            names = {category["id"]: category["name"] for category in document["categories"]}
            for number, each in enumerate(document["annotations"]):
                with located(f"datasets: {path}: annotation {number}"):
                    add(of_id, names, each)
        return found


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
