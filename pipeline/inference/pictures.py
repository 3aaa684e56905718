"""Masks and boxes of new pictures, by a saved head: files in a folder, and pictures with them drawn over.

Letters: h height, w width, in pixels or in cells of a map, d features, k classes.
"""

import csv
import json
import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from icebox.features import files
from icebox.features.abc.backbone import Backbone
from icebox.features.abc.dataset import Content
from icebox.features.errors import IceboxError
from icebox.features.extraction import views
from icebox.features.extraction.precision import to_storage_dtype
from icebox.features.images.decoding import to_image
from icebox.features.images.regions import Region
from icebox.pipeline.data.maps import resize
from icebox.pipeline.dense import detecting, segmenting
from icebox.pipeline.dense.base import cell_scores
from icebox.pipeline.dense.colors import class_colors
from icebox.pipeline.dense.matching import Detections, to_coco
from icebox.pipeline.inference.bundle import Bundle
from icebox.pipeline.inference.reading.new_items import NewItem, printable

OPACITY = 0.5  # of a mask over its picture
BOXES, INDEX = "boxes.json", "pictures.csv"
SHOWN_FROM = 0.3  # score of the boxes that are drawn; all stand in the file
UNSAFE = re.compile(r"[^\w.-]+")
logger = logging.getLogger("icebox")


@dataclass(frozen=True)
class Answered:
    """A new picture, and its mask (h, w) of class numbers or its boxes, in its own pixels."""

    item: NewItem
    content: Content
    image: Image.Image
    answer: np.ndarray | Detections


class PictureFolder:
    """The folder that takes the answers: `masks/` or boxes.json (COCO's form), `overlays/`, and pictures.csv, which
    says which files are of which picture."""

    def __init__(self, folder: Path, opened: Bundle) -> None:
        """Raises IceboxError for a folder that holds anything already."""
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise IceboxError(f"--out {folder}: expected a new or an empty folder; nothing is written over")
        self.folder, self.bundle = folder, opened
        self.colors = class_colors(len(opened.classes))
        self.rows: list[dict[str, str]] = []
        self.coco: dict[str, Any] = {
            "images": [],
            "categories": [{"id": i + 1, "name": name} for i, name in enumerate(opened.classes)],
            "annotations": [],
        }
        self._names: set[str] = set()
        (folder / "overlays").mkdir(parents=True, exist_ok=True)

    def name_of(self, item: NewItem) -> str:
        """A file name of a picture, that no other has."""
        stem = UNSAFE.sub("_", Path(item.item_id).stem) or "picture"
        name, number = stem, 1
        while name.lower() in self._names:
            number += 1
            name = f"{stem}-{number}"
        self._names.add(name.lower())
        return name

    def add(self, picture: Answered) -> None:
        """Write a picture's answer, and the picture with it over."""
        if isinstance(picture.answer, Detections):
            self.add_boxes(picture.item, picture.image, picture.answer)
        else:
            self.add_mask(picture.item, picture.image, picture.answer)

    def add_mask(self, item: NewItem, image: Image.Image, mask: np.ndarray) -> None:
        """Write a mask (h, w), whose values are class numbers, and the picture with it over."""
        name = self.name_of(item)
        path = self.folder / "masks" / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        if len(self.colors) <= 256:
            drawn = Image.fromarray(mask.astype(np.uint8), "P")
            drawn.putpalette([part for color in self.colors for part in color])
            drawn.save(path)
        else:
            path.write_bytes(segmenting.png(mask))
        painted = np.array(self.colors, np.float32)[mask]
        mixed = (1 - OPACITY) * np.asarray(image.convert("RGB"), np.float32) + OPACITY * painted
        self._finish(item, name, Image.fromarray(mixed.round().astype(np.uint8)), f"masks/{name}.png")

    def add_boxes(self, item: NewItem, image: Image.Image, boxes: Detections) -> None:
        """Keep the boxes of a picture for boxes.json, and write the picture with the sure ones over."""
        name, number = self.name_of(item), len(self.coco["images"]) + 1
        self.coco["images"].append(
            {"id": number, "file_name": printable(item.item_id), "width": image.width, "height": image.height}
        )
        for box, label, score in zip(to_coco(boxes.corners), boxes.labels.tolist(), boxes.scores.tolist(), strict=True):
            self.coco["annotations"].append(
                {
                    "id": len(self.coco["annotations"]) + 1,
                    "image_id": number,
                    "category_id": label + 1,
                    "bbox": [round(float(side), 2) for side in box],
                    "area": round(float(box[2] * box[3]), 2),
                    "iscrowd": 0,
                    "score": round(score, 5),
                }
            )
        drawn = image.convert("RGB")
        pen = ImageDraw.Draw(drawn)
        for corners, label, score in zip(boxes.corners, boxes.labels.tolist(), boxes.scores.tolist(), strict=True):
            if score >= SHOWN_FROM:
                pen.rectangle(corners.tolist(), outline=self.colors[label], width=max(1, min(drawn.size) // 200))
        self._finish(item, name, drawn, BOXES)

    def _finish(self, item: NewItem, name: str, overlay: Image.Image, answer: str) -> None:
        overlay.save(self.folder / "overlays" / f"{name}.png")
        self.rows.append({"input": printable(item.item_id), "answer": answer, "overlay": f"overlays/{name}.png"})

    def close(self) -> None:
        """Write the files of all pictures together."""
        if self.bundle.task == "detection":
            files.write_text(self.folder / BOXES, json.dumps(self.coco, indent=1, ensure_ascii=False) + "\n")
        with files.replacing(self.folder / INDEX) as temporary, temporary.open("w", newline="", encoding="utf-8") as to:
            writer = csv.DictWriter(to, ["input", "answer", "overlay"], lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows)
        logger.info("%s pictures: %s", f"{len(self.rows):,}", self.folder)


def predict(opened: Bundle, backbone: Backbone, items: Iterator[NewItem], unreadable: Any, out: Path) -> int:
    """Write the masks or boxes of new pictures into the folder `out` → how many there were."""
    folder = PictureFolder(out, opened)
    for picture in answers(opened, backbone, items, unreadable):
        folder.add(picture)
    folder.close()
    return len(folder.rows)


def answers(opened: Bundle, backbone: Backbone, items: Iterator[NewItem], unreadable: Any) -> Iterator[Answered]:
    """The masks or boxes of new pictures, one at a time; those that can't be read are given to `unreadable`."""
    for item in items:
        try:
            content = item.read()
            image = to_image(content)
            by_view = list(maps_by_view(opened, backbone, content, image))
        except IceboxError as error:
            unreadable(item, error)
            continue
        size = image.height, image.width
        if opened.task == "segmentation":
            scores = [(region, cell_scores(opened.head, maps, len(opened.classes))[0]) for region, maps in by_view]
            yield Answered(item, content, image, segmenting.stitched(scores, size))
        else:
            parts = []
            for region, maps in by_view:
                heat, sides = opened.head.predict_maps(maps)
                parts.append((region, heat[0], sides[0]))
            yield Answered(item, content, image, detecting.boxes_of(opened.head, parts, size))


def maps_by_view(
    opened: Bundle, backbone: Backbone, content: Content, image: Image.Image
) -> Iterator[tuple[Region, np.ndarray]]:
    """The part that each scored view shows, and its maps (1, h, w, d) as the head was fitted on them."""
    for view in scored_views(opened.view):
        features = backbone.encode([views.prepare(backbone, content, view)])
        outputs = [
            to_storage_dtype(np.asarray(features[output]), opened.stored).astype(np.float32)
            for output in opened.head_outputs or opened.outputs
        ]
        size = max(each.shape[1] for each in outputs), max(each.shape[2] for each in outputs)
        maps = np.concatenate([resize(each, size) for each in outputs], axis=-1)
        yield views.region(view, height=image.height, width=image.width), maps


def scored_views(view: str) -> Sequence[str]:
    """The views in which a picture is answered: this one, or all tiles of its grid."""
    tile = views.TILE.fullmatch(view)
    return views.tile_names(int(tile[1]), int(tile[2])) if tile else [view]
