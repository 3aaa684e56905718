"""What a dataset file holds: a final class `Source(Dataset)` whose constructor's keywords are its params.yaml keys."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

Content = bytes | str | np.ndarray
Modality = Literal["image", "text"]


@dataclass(frozen=True, kw_only=True)
class Item:
    """One example, before it has a split.

    `item_id` is unique and stable; `source` is all that `Dataset.read` needs to find the content again (a path
    relative to the dataset's folder, an index, or a short text itself); `split` is the official one where there
    is one; `group` names items that must share a split (a patient).
    """

    item_id: str
    source: str
    label: str
    split: str = ""
    group: str = ""


class Dataset(ABC):
    """A source of items. Abstract here, final in its file; the constructor only keeps its arguments."""

    modality: ClassVar[Modality]

    @abstractmethod
    def items(self) -> Iterator[Item]:
        """Every item, in an order that does not depend on the machine. Raises IceboxError on missing files."""

    @abstractmethod
    def read(self, source: str) -> Content:
        """The content behind `Item.source`: encoded image bytes, a uint8 array (height, width[, 3]), or a text."""
