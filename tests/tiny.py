"""A dataset and a backbone small enough to know by heart, for tests of what stands around them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from icebox.features import fingerprint
from icebox.features.abc.backbone import Backbone
from icebox.features.abc.dataset import Content, Pair
from icebox.features.errors import ItemError
from icebox.features.extraction.extract import extract
from icebox.features.manifest.manifest import ManifestRow


class Doubling(Backbone):
    """Content "3" → features [3, 6] and grid [[3, 3], [3, 3]]; "bad" can't be read, "inf" gives infinity."""

    modality = "text"
    outputs = ("last", "grid")

    def __init__(self, *, version: int = 1, shift: float = 0.0) -> None:
        self.version = version
        self.shift = shift
        self.passed: list[str] = []

    @property
    def spec(self) -> dict[str, Any]:
        return {
            "family": "doubling",
            "version": self.version,
            "outputs": list(self.outputs),
            "precision": "float32",
        }

    def prepare(self, content: Content) -> float:
        if content == "bad":
            raise ItemError("expected a number, found 'bad'")
        return float(str(content))

    def encode(self, prepared: Sequence[float]) -> dict[str, np.ndarray]:
        self.passed += [f"{value:g}" for value in prepared]
        values = np.array(prepared, np.float32) + np.float32(self.shift)
        return {"last": np.stack([values, 2 * values], 1), "grid": np.repeat(values, 4).reshape(-1, 2, 2)}


def rows(*contents: str, split: str = "train") -> list[ManifestRow]:
    """A manifest of these contents; item ids are "item0", "item1", …; the label is the content's parity."""
    return [
        ManifestRow(
            item_id=f"item{i}",
            item_key=fingerprint.of_content(content),
            label=str(len(content) % 2),
            split=split,
            group="",
            source=content,
        )
        for i, content in enumerate(contents)
    ]


def pictures(*numbers: int, split: str = "train") -> list[ManifestRow]:
    """A manifest of the pictures that `picture` gives for these numbers."""
    return [
        replace(row, item_key=fingerprint.of_content(picture(row.source)))
        for row in rows(*map(str, numbers), split=split)
    ]


def picture(source: str) -> np.ndarray:
    """The number as the grey of a picture's right half, uint8 (8, 16); "bad" is none, in a type that can't be read."""
    if source == "bad":
        return np.zeros((8, 16))
    pixels = np.zeros((8, 16), np.uint8)
    pixels[:, 8:] = int(source)
    return pixels


def pairs(*texts: tuple[str, str]) -> tuple[list[ManifestRow], dict[str, Pair]]:
    """A manifest of pairs, and what to read them from."""
    known = {f"pair{number}": Pair(*both) for number, both in enumerate(texts)}
    return [replace(row, item_key=fingerprint.of_content(known[row.source])) for row in rows(*known)], known


def extract_doubled(items: str, *, store: Path, cache: Path) -> list[str]:
    """Extract one-digit contents, three to a shard → what passed the backbone, but for the canary."""
    backbone = Doubling()
    done = extract(
        rows(*items),
        read=lambda source: source,
        backbone=backbone,
        cache_root=cache,
        store=store,
        shard_rows=3,
    )
    return backbone.passed[-done.passed :] if done.passed else []
