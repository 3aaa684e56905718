"""A store of maps with masks, small enough for tests: bright squares and dark stripes on grey."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from icebox.features import fingerprint
from icebox.features.abc.backbone import Backbone
from icebox.features.abc.dataset import Content
from icebox.features.abc.targets import IGNORED, Mask
from icebox.features.extraction.extract import extract
from icebox.features.store import targets
from icebox.features.store.feature_store import FeatureStore
from tests.tiny import rows

HEIGHT, WIDTH = 24, 32
CLASSES = ["ground", "square", "stripe"]


class Colors(Backbone):
    """A picture → its mean color in each cell of 4×4 pixels (6, 8, 3), and of 8×8 (3, 4, 3)."""

    modality = "image"
    outputs = ("fine", "coarse")

    @property
    def spec(self) -> dict[str, Any]:
        return {
            "family": "pixels", "version": 1, "outputs": list(self.outputs), "precision": "float32", "stored": "float32"
        }  # fmt: skip

    def prepare(self, content: Content) -> np.ndarray:
        return np.asarray(content, np.float32) / 255

    def encode(self, prepared: Sequence[np.ndarray]) -> Mapping[str, np.ndarray]:
        whole = np.stack(prepared)
        return {
            name: whole.reshape(len(whole), HEIGHT // side, side, WIDTH // side, side, 3).mean(axis=(2, 4))
            for name, side in (("fine", 4), ("coarse", 8))
        }


def scene(number: int) -> tuple[np.ndarray, np.ndarray]:
    """A picture, uint8 (24, 32, 3), and its mask (24, 32)."""
    random = np.random.default_rng(number)
    mask = np.zeros((HEIGHT, WIDTH), np.int16)
    row, column = 4 * random.integers(0, 4), 4 * random.integers(0, 5)
    mask[row : row + 8, column : column + 8] = 1
    mask[20:, :] = 2
    mask[:, -1] = IGNORED
    colors = np.array([[120, 120, 120], [220, 200, 90], [40, 60, 30], [255, 0, 255]])[mask]
    return (colors + random.integers(-30, 31, colors.shape)).clip(0, 255).astype(np.uint8), mask


def store(
    tmp_path: Path, splits: str = "rrrrrrvvtt", *, views: Sequence[str] = ("identity",), group: str = ""
) -> FeatureStore:
    """A store of scenes in splits given as r (train), v, t."""
    names = {"r": "train", "v": "val", "t": "test"}
    scenes = [scene(i) for i in range(len(splits))]
    items = [
        replace(row, label=Mask(mask).digest, split=names[split], item_key=fingerprint.of_content(picture), group=group)
        for row, split, (picture, mask) in zip(rows(*map(str, range(len(splits)))), splits, scenes, strict=True)
    ]
    folder = tmp_path / "scenes-colors"
    targets.write(
        folder, [row.item_id for row in items], [Mask(mask) for _, mask in scenes], task="segmentation", classes=CLASSES
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
