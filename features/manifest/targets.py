"""The targets of a dense dataset as its manifest is made: read once, compared with their pictures, and counted."""

from collections import Counter
from collections.abc import Iterable
from typing import Protocol

import numpy as np

from icebox.features.abc.account import Account, Remark
from icebox.features.abc.dataset import Content, DenseDataset
from icebox.features.abc.targets import Mask, Target
from icebox.features.errors import IceboxError
from icebox.features.manifest.validation import NAME_BYTES_MAX
from icebox.features.names import in_line
from icebox.features.splits import in_order

FEW_PICTURES = 5  # with a class


class Reviewed(Protocol):
    """A manifest's row, by its label and split."""

    @property
    def label(self) -> str:
        """The digest of its target."""

    @property
    def split(self) -> str:
        """The split that it was assigned."""


class Located(Protocol):
    """An item, by its id and the reference to its content."""

    @property
    def item_id(self) -> str:
        """Its id."""

    @property
    def source(self) -> str:
        """The reference by which the dataset reads it."""


class TargetReview:
    """Reads each target of a dataset, and keeps which classes occur in it."""

    def __init__(self, dataset: DenseDataset) -> None:
        self.dataset = dataset
        self._classes: dict[str, frozenset[int]] = {}  # numbers of the classes in a target, by its digest

    def label(self, item: Located, content: Content) -> str:
        """The digest of the item's target, which is its label in the manifest; `content` is its picture.

        Raises IceboxError for a target that is missing, damaged, or of another size than the picture. A picture that
        can't be read is not its matter, but the extraction's.
        """
        from icebox.features.images.dimensions import upright_size  # a dataset of texts has no use for a decoder

        target = self.dataset.target(item.source)
        size = upright_size(content)
        if size is not None and size != target.size:
            file, kind = self.dataset.target_file(item.source), "mask" if isinstance(target, Mask) else "boxes"
            turned = "; the picture's EXIF turns it: store it upright" if size == target.size[::-1] else ""
            raise IceboxError(
                f"{file}: expected {kind} for the {in_pixels(size)} pixels of the picture {item.source}, "
                f"found {kind} for {in_pixels(target.size)}{turned}"
            )
        digest = target.digest
        if digest not in self._classes:
            self._classes[digest] = classes_in(target)
        self._note(target, item.item_id, len(self._classes[digest]))
        return digest

    def _note(self, target: Target, item_id: str, classes: int) -> None:
        account = self.dataset.account
        if not isinstance(target, Mask):
            if not classes:
                account.note("pictures_without_boxes", "pictures without boxes, all of them background", item_id)
        elif not classes:
            account.note("masks_all_ignored", "masks all of whose pixels are ignored", item_id)
        elif classes == 1 and len(self.dataset.classes) > 1:
            account.note("masks_of_one_class", "masks all of whose pixels are of one class", item_id)

    def require_content(self) -> None:
        """Raise IceboxError where there is nothing to learn: no box, or no two classes of pixels in all pictures.

        And for a name of a class that can't be kept.
        """
        for name in self.dataset.classes:
            if not name.strip() or not is_kept(name):
                raise IceboxError(
                    f"expected names of classes of 1 to {NAME_BYTES_MAX:,} bytes in UTF-8, found '{in_line(name)}'"
                )
        classes = frozenset[int]().union(*self._classes.values())
        if self.dataset.task == "detection" and not classes:
            raise IceboxError("expected boxes, found none in any picture; there is nothing to learn")
        if self.dataset.task == "segmentation" and len(classes) < 2:
            found = ", ".join(f"'{self.dataset.classes[number]}'" for number in classes) or "none"
            raise IceboxError(
                f"expected pixels of two classes at least, found {found} in all masks; there is nothing to learn"
            )

    def remarks(self, rows: Iterable[Reviewed]) -> list[Remark]:
        """Remarks on classes in no picture of train, and on those in few pictures of a split."""
        pictures: dict[str, Counter[int]] = {}  # {split: {class number: pictures with it}}
        for row in rows:
            pictures.setdefault(row.split, Counter()).update(self._classes[row.label])
        account, trained = Account(), pictures.get("train", Counter())
        for number, name in enumerate(self.dataset.classes):
            if not trained[number]:
                account.note("classes_not_in_train", "classes in no picture of train, which no head can learn", name)
        for split in in_order(pictures):
            for number, name in enumerate(self.dataset.classes):
                if trained[number] and pictures[split][number] < FEW_PICTURES:
                    description = f"classes in fewer than {FEW_PICTURES} pictures of {split}"
                    account.note("small_classes", description, f"{name} ({pictures[split][number]})")
        return account.remarks()


def is_kept(name: str) -> bool:
    """Whether a store can hold the name of a class."""
    try:
        return "\0" not in name and len(name.encode()) <= NAME_BYTES_MAX
    except UnicodeEncodeError:
        return False


def classes_in(target: Target) -> frozenset[int]:
    """The numbers of the classes of a target's pixels or boxes that are not ignored."""
    if isinstance(target, Mask):
        return frozenset(np.flatnonzero(np.bincount(target.classes[target.classes >= 0].ravel())).tolist())
    return frozenset(target.labels[~target.ignored].tolist())


def in_pixels(size: tuple[int, int]) -> str:
    """A size (height, width) as pictures' sizes are written, width first."""
    return f"{size[1]}×{size[0]}"
