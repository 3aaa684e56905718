"""Images in a folder whose subfolders are the classes: `roses/1.jpg`, or with official splits `train/roses/1.jpg`."""

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from annotated_types import Ge, Le

from icebox.features import files
from icebox.features.abc.account import Account
from icebox.features.abc.dataset import Content, Dataset, Item, Modality
from icebox.features.buckets.path import place
from icebox.features.datasets.readers.group_pattern import match_groups
from icebox.features.datasets.readers.image_files import ImageFiles, list_image_files
from icebox.features.errors import IceboxError, located
from icebox.features.images.bit_depth import scaled
from icebox.features.images.contrast import with_contrast
from icebox.features.images.decoding import IMAGE_SUFFIXES
from icebox.features.splits import canonical_split_name, is_split, split_within


class Source(Dataset):
    """One item per image; its id and source are its path relative to `path`, its label the folder of its class.

    Where every top folder that holds images is called by a split (train, Training, train_set, val, valid, validation,
    dev, test, testing, eval, or test-NAME for a further test set), these are the official splits and the classes lie
    one level deeper; where only some are, that is an error. `group` is a regular expression searched in each path: its
    first group, or else the whole match, names the items that must share a split (`person\\d+` for patients).
    `bits` is how many the values of 16-bit pictures need, where not all: 12 of many cameras and scanners. `contrast`
    spreads each picture's grey levels anew, as a whole (equalize) or tile by tile (clahe).
    """

    modality: Modality = "image"

    def __init__(
        self,
        *,
        path: Path,
        group: str | None = None,
        bits: Annotated[int, Ge(8), Le(16)] | None = None,
        contrast: Literal["none", "equalize", "clahe"] = "none",
    ) -> None:
        self.path = place(path)
        self.group = group
        self.bits = bits
        self.contrast = contrast

    def items(self) -> Iterator[Item]:
        """Items ordered by path, whatever the file system's own order.

        Raises IceboxError for a folder that is missing, unreadable or has fewer than two classes, for folders of splits
        beside others, and for a path without a group. Files and class folders that give no item are noted.
        """
        self.account.clear()
        if not self.path.is_dir():
            raise IceboxError(
                f"image_folder: there is no folder {self.path} (looked in {Path.cwd()}); put the pictures there, a "
                f"folder a class: {self.path / 'CLASS' / 'NAME.jpg'}, or correct `path`"
            )
        listed = list_image_files(self.path, self.account)
        if not self.labelled:
            yield from (Item(item_id=str(image), source=str(image), label="") for image in listed.images)
            return
        with located(f"image_folder: {self.path}"):
            splits = official_splits(listed.images)
        depth = 1 if splits else 0
        labels = [class_folder(image, depth=depth) for image in listed.images]
        least, number = (1, "one") if self.further else (2, "two")
        if len(set(labels)) < least:
            raise IceboxError(
                f"image_folder: {self.path}: expected at least {number} class folders with pictures "
                f"({', '.join(sorted(IMAGE_SUFFIXES))}), found {', '.join(sorted(set(labels))) or 'none'}"
                + wrapped_splits(listed, self.path)
            )
        note_folders(listed, depth, self.account)
        names = [str(image) for image in listed.images]
        with located("image_folder"):
            groups = match_groups(names, self.group) if self.group else [""] * len(names)
        for name, image, label, group in zip(names, listed.images, labels, groups, strict=True):
            yield Item(item_id=name, source=name, label=label, split=splits.get(image.parts[0], ""), group=group)

    def read(self, source: str) -> Content:
        """The file's bytes; raises IceboxError for a file that is missing, unreadable or outside the folder."""
        picture = scaled(files.read_contained(self.path, source), self.bits, source)
        return with_contrast(picture, self.contrast)

    def content_file(self, source: str) -> Path:
        """The picture's file."""
        return self.path / source

    def elsewhere(self, path: Path, *, labelled: bool) -> "Source | None":
        """The images of another folder, in folders of classes (one is enough) where they are labelled."""
        if not path.is_dir():
            return None
        return self._changed(path=path, labelled=labelled)


def official_splits(images: Sequence[PurePosixPath]) -> dict[str, str]:
    """{top folder: split} where all top folders are splits, {} where all are classes.

    A folder whose pictures all lie directly in it is a class even if it is called train, beside other classes.
    Raises IceboxError where some are splits and others are not.
    """
    inner: dict[str, set[str]] = {}  # the folders in each top folder; "" for pictures that lie directly in it
    for image in images:
        inner.setdefault(image.parts[0], set()).add(image.parts[1] if len(image.parts) > 2 else "")
    by_name = {top: canonical_split_name(top) for top in inner if is_split(canonical_split_name(top))}
    by_word = {top: split_within(top) for top in inner if "" not in inner[top] and split_within(top)}  # seg_train
    if len(set(by_word.values())) > 1:
        by_name = by_word | by_name
    if len(by_name) == len(inner):
        return by_name
    if any(inner[top] != {""} for top in by_name):
        odd = [top for top in inner if top not in by_name]
        raise IceboxError(
            f"expected either classes or splits, found {', '.join(by_name)} called by splits beside "
            f"{', '.join(odd[:10])}{' …' if len(odd) > 10 else ''}; name the latter test-NAME for a further test set, "
            "or move them away; or if all are classes, rename the former"
        )
    return {}


def class_folder(image: PurePosixPath, *, depth: int) -> str:
    """The class: the folder at `depth`. Deeper folders may group images within a class."""
    if len(image.parts) < depth + 2:
        raise IceboxError(f"image_folder: {image} lies in no class folder; move it into one, or away")
    return image.parts[depth]


def note_folders(listed: ImageFiles, depth: int, account: Account) -> None:
    """Note class folders without images, and folders within classes that are called by a split."""
    filled = {image.parts[: depth + 1] for image in listed.images}
    for folder in listed.folders:
        if len(folder.parts) == depth + 1 and folder.parts not in filled:
            account.note("empty_classes", "class folders without pictures", str(folder))
    if depth == 0:
        for inner in sorted({image.parts[:2] for image in listed.images if len(image.parts) > 2}):
            if is_split(canonical_split_name(inner[1])):
                account.note(
                    "splits_within_classes",
                    "folders within classes called by a split, which they are not taken for (SPLIT/CLASS would be)",
                    "/".join(inner),
                )


def wrapped_splits(listed: ImageFiles, root: Path) -> str:
    """Advice where the only top folder holds the folders of the splits, or ""."""
    inner = {image.parts[1] for image in listed.images if len(image.parts) > 2}
    splits = sorted(name for name in inner if is_split(canonical_split_name(name)))
    return f"; {', '.join(splits)} in it are splits: set `path` to {root / listed.images[0].parts[0]}" if splits else ""
