"""Datasets small enough to train on in a test."""

from collections.abc import Sequence

import numpy as np

from icebox.features import fingerprint
from icebox.features.abc.dataset import Content, Modality
from icebox.features.manifest.manifest import ManifestRow
from icebox.features.manifest.reading import Examples

SPLITS = ("train", "val", "test")
STORY = "\n = A Story = \n \n The old man went to the sea , and the sea <unk> him . \n He didn 't go home . \n"


def texts() -> Examples:
    """One short text over and over, four times to train and once for each other split."""
    return examples("text", [(split, STORY * (4 if split == "train" else 1), "story") for split in SPLITS])


def pictures(n: int = 40) -> Examples:
    """n pictures of 28×28, bright on the left or on the right; half to train, a quarter each to val and test."""
    random = np.random.default_rng(0)
    items: list[tuple[str, Content, str]] = []
    for i in range(n):
        picture = random.integers(0, 60, (28, 28), np.uint8)
        picture[:, (i % 2) * 14 :][:, :14] += np.uint8(180)
        items.append((("train", "val", "train", "test")[i // 2 % 4], picture, ("left", "right")[i % 2]))
    return examples("image", items)


def examples(modality: Modality, items: Sequence[tuple[str, Content, str]]) -> Examples:
    """A dataset of (split, content, label)."""
    manifest = [
        ManifestRow(
            item_id=f"item{i}",
            item_key=fingerprint.of_content(content),
            label=label,
            split=split,
            group="",
            source=str(i),
        )
        for i, (split, content, label) in enumerate(items)
    ]
    return Examples(name="tiny", modality=modality, rows=manifest, read=lambda source: items[int(source)][1])


def upright() -> Examples:
    """Pictures that a mirror does not change: bright above or below."""
    turned = pictures()
    found = [(row.split, np.asarray(turned.read(row.source)).T.copy(), row.label) for row in turned.rows]
    return examples("image", found)
