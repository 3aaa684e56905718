"""New items that were encoded together."""

from dataclasses import dataclass

import numpy as np

from icebox.features.abc.dataset import Content
from icebox.pipeline.inference.new_items import NewItem


@dataclass(frozen=True)
class Batch:
    """Items that could be read, the texts that show them, and their features (b, d)."""

    items: list[NewItem]
    shown: list[str]
    contents: list[Content]
    features: np.ndarray
