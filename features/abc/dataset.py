"""The interface of a dataset: its file defines a final class `Source(Dataset)` with its settings as keywords."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np

from icebox.features.abc.account import Account
from icebox.features.abc.targets import Target


@dataclass(frozen=True)
class Pair:
    """Two texts that share a label: a premise and a hypothesis, a question and an answer."""

    first: str
    second: str


Content = bytes | str | np.ndarray | Pair
Modality = Literal["image", "text", "pair", "sequence"]


@dataclass(frozen=True, kw_only=True)
class Item:
    """One example, before it has a split.

    `item_id` is unique and stable; `source` is a reference by which `Dataset.read` finds the content again, never the
    content: a path relative to the dataset's folder, an index, a row's first byte; `split` is the official one where
    there is one (train, val, test, or a further test set `test-NAME`); `group` names items that must share a split (a
    patient); `slices` are further columns to look at results by (genre). `content` is what `read` would give, where
    listing has it in hand anyhow, so that it is not read twice.
    """

    item_id: str
    source: str
    label: str
    split: str = ""
    group: str = ""
    slices: Mapping[str, str] = field(default_factory=dict)
    content: "Content | None" = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class Part:
    """Items that follow each other in a dataset: `items` lists them. The `settings`, as JSON, and the files at `paths`
    are all that determines them, beside the plugin's code.
    """

    items: Callable[[], Iterator[Item]]
    settings: Any
    paths: Sequence[Path] = ()


class Dataset(ABC):
    """A source of items. Abstract here, final in its file; the constructor only keeps its arguments."""

    modality: Modality  # of the class, or of the instance where its arguments decide
    labelled: bool = True  # whether items have labels
    label_sets: bool = False  # whether each label is a set of names, as `features.label_sets` writes it
    further: bool = False  # whether items are others than the dataset's own: they need not have all of its classes

    @cached_property
    def account(self) -> Account:
        """Items that `items` passed over or doubts, by reason; whole once its last item was taken."""
        return Account()

    @abstractmethod
    def items(self) -> Iterator[Item]:
        """Every item, in an order that does not depend on the machine. Raises IceboxError on missing files.

        Nothing is passed over in silence: what is left out, such as a file of another ending, is noted in `account`.
        """

    def parts(self) -> Iterable[Part] | None:
        """The items of `items`, in its order, in parts that are each determined by less than all settings and files.

        For a dataset that grows, by an archive or by a larger number of items: parts that a manifest knows are not
        listed again. All are listed where the plugin's code is another, or one that is listed each time is not what it
        was; one with a note in `account` is listed each time. Thousands of items a part are a good size. None where
        only all items can be listed.
        """
        return None

    @abstractmethod
    def read(self, source: str) -> Content:
        """The content behind `Item.source`: an image's bytes, a uint8 array (height, width[, 3]), a text or a pair."""

    def content_file(self, source: str) -> Path | None:
        """The file that alone determines the content behind `Item.source`, beside the settings; None if none does.

        While it stays as it is, its content is not read again for a manifest.
        """
        return None

    def content_settings(self) -> Mapping[str, Any] | None:
        """The settings, as JSON, that with an `Item.source` determine its content for ever; None where more does.

        For contents that no file holds: made from a seed, or rows of a hub's dataset at a commit. One that was read is
        not read again for a manifest, whatever other settings have become: {"seed": seed} of a source that makes
        as many contents as its setting `items` says. All are read where the plugin's code is another, or one of a few
        that are read each time is not what it was. A library that has a part in contents adds its version.
        """
        return None

    def item_folder(self) -> Path | None:
        """The folder whose files `Item.source` names, where it is none of the arguments.

        Paths among the arguments are watched as a whole; of this folder, the files that items name.
        """
        return None

    def item_files(self, source: str) -> Sequence[str]:
        """The paths in `item_folder` of the files that an item is read from."""
        return [source]

    def elsewhere(self, path: Path, *, labelled: bool) -> "Dataset | None":
        """A source of further items, those at `path`, by the same settings; None where `path` holds none of this kind.

        Unless `labelled`, items need no labels, and theirs are "". Official splits and slices are of no interest there.
        """
        return None

    def _changed(self, **attributes: Any) -> Self:
        """A source of further items: this one with other attributes, and nothing of what it has read."""
        kept = {
            name: value
            for name, value in vars(self).items()
            if not isinstance(inspect.getattr_static(type(self), name, None), cached_property)
        }
        other = object.__new__(type(self))
        other.__dict__.update(kept | {"further": True} | attributes)
        return other


class DenseDataset(Dataset):
    """A source of pictures with a target each: masks or boxes. Its items have no labels of their own ("").

    A manifest gives them the target's sha256 as their label, so that whatever hangs on labels notices a changed target.
    Its file also says `TASK = "segmentation"` (or "detection"), which is read without importing it.
    """

    modality: Modality = "image"
    task: ClassVar[Literal["segmentation", "detection"]]

    @property
    @abstractmethod
    def classes(self) -> tuple[str, ...]:
        """The names of the classes; a class number in a target is a position among them. Known once `items` has run."""

    @abstractmethod
    def target(self, source: str) -> Target:
        """The mask or the boxes of the picture behind `Item.source`.

        Raises IceboxError, which names the file, for one that is missing, damaged or not of this kind. What is odd but
        taken (a box outside of the picture, an unknown value set to IGNORED) is noted in `account`.
        """

    def target_file(self, source: str) -> str:
        """The name of the file that holds the target, for errors."""
        return source
