"""A store of maps with boxes, small enough for tests: bright blobs and dark ones on grey."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from icebox.features import fingerprint
from icebox.features.abc.targets import Boxes
from icebox.features.extraction.extract import extract
from icebox.features.store import targets
from icebox.features.store.feature_store import FeatureStore
from tests.dense import HEIGHT, WIDTH, Colors
from tests.tiny import rows

CLASSES = ["bright", "dark"]


def scene(number: int) -> tuple[np.ndarray, Boxes]:
    """A picture, uint8 (24, 32, 3), with a bright blob of 8×8 pixels and perhaps a dark one, and their boxes."""
    random = np.random.default_rng(number)
    picture = np.full((HEIGHT, WIDTH, 3), 120)
    row, column = 4 * random.integers(0, 5), 4 * random.integers(0, 3)
    picture[row : row + 8, column : column + 8] = 250
    corners, labels = [[column, row, column + 8, row + 8]], [0]
    if number % 3:
        row = 4 * random.integers(0, 5)
        picture[row : row + 8, 20:32] = 10
        corners, labels = [*corners, [20, row, 32, row + 8]], [0, 1]
    boxes = Boxes(
        (HEIGHT, WIDTH), np.array(corners, np.float32), np.array(labels, np.int64), np.zeros(len(labels), bool)
    )
    return (picture + random.integers(-5, 6, picture.shape)).clip(0, 255).astype(np.uint8), boxes


def store(tmp_path: Path, splits: str = "rrrrrrvvtt", *, views: Sequence[str] = ("identity",)) -> FeatureStore:
    """A store of scenes in splits given as r (train), v, t."""
    names = {"r": "train", "v": "val", "t": "test"}
    scenes = [scene(i) for i in range(len(splits))]
    items = [
        replace(row, label=boxes.digest, split=names[split], item_key=fingerprint.of_content(picture))
        for row, split, (picture, boxes) in zip(rows(*map(str, range(len(splits)))), splits, scenes, strict=True)
    ]
    folder = tmp_path / "blobs-colors"
    targets.write(
        folder, [row.item_id for row in items], [boxes for _, boxes in scenes], task="detection", classes=CLASSES
    )
    extract(
        items,
        read=lambda source: scene(int(source))[0],
        backbone=Colors(),
        cache_root=tmp_path / "cache",
        store=folder,
        views=views,
    )
    return FeatureStore(folder)
