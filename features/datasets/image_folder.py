"""Images in a folder whose subfolders are the classes: `roses/1.jpg`, or with official splits `train/roses/1.jpg`."""

import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from icebox.features import files
from icebox.features.abc.dataset import Content, Dataset, Item, Modality
from icebox.features.errors import IceboxError
from icebox.features.images.decoding import IMAGE_SUFFIXES
from icebox.features.splits import canonical_split_name, is_split


class Source(Dataset):
    """One item per image; its id and source are its path relative to `path`, its label the folder of its class.

    Where every top folder that holds images is called train, val, valid, validation, dev, test or test-NAME (a
    further test set), these are the official splits and the classes lie one level deeper. `group` is a regular
    expression searched in each path: its first group, or else the whole match, names the items that must share a split
    (`person\\d+` for patients).
    """

    modality: Modality = "image"

    def __init__(self, *, path: Path, group: str | None = None) -> None:
        self.path = Path(path)
        self.group = group

    def items(self) -> Iterator[Item]:
        """Items ordered by path, whatever the file system's own order.

        Raises IceboxError for a folder that is missing, unreadable or has fewer than two classes, and for a path
        without a group.
        """
        images = list_images(self.path)
        split = all(is_split(canonical_split_name(image.parts[0])) for image in images)
        labels = [class_folder(image, depth=1 if split else 0) for image in images]
        if len(set(labels)) < 2:
            raise IceboxError(
                f"image_folder: {self.path}: expected at least two class folders with pictures "
                f"({', '.join(sorted(IMAGE_SUFFIXES))}), found {', '.join(sorted(set(labels))) or 'none'}"
            )
        for image, label in zip(images, labels, strict=True):
            name = str(image)
            yield Item(
                item_id=name,
                source=name,
                label=label,
                split=canonical_split_name(image.parts[0]) if split else "",
                group=match_group(name, self.group) if self.group else "",
            )

    def read(self, source: str) -> Content:
        """The file's bytes; raises IceboxError for a file that is missing, unreadable or outside the folder."""
        return files.read_contained(self.path, source)


def list_images(root: Path) -> list[PurePosixPath]:
    """Every image's path relative to `root`, sorted as text; hidden files and folders are skipped."""
    if not root.is_dir():
        raise IceboxError(
            f"image_folder: there is no folder {root} (looked in {Path.cwd()}); put the pictures there, a folder a "
            f"class: {root / 'CLASS' / 'NAME.jpg'}, or correct `path`"
        )
    image_names = []
    for folder, folders, names in os.walk(root, onerror=refuse_unreadable):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in folders:
            if Path(folder, name).is_symlink():  # os.walk would pass it over in silence
                raise IceboxError(f"image_folder: {Path(folder, name)} is a link; put the folder itself there")
        for name in names:
            path = Path(folder, name)
            if path.suffix.lower() in IMAGE_SUFFIXES and not name.startswith("."):
                relative = path.relative_to(root).as_posix()
                if path.is_symlink():
                    files.contained_path(root, relative)
                image_names.append(readable_name(relative))
    return [PurePosixPath(name) for name in sorted(image_names)]


def refuse_unreadable(error: OSError) -> None:
    """Raise for a folder that can't be listed: by default os.walk skips it in silence."""
    raise IceboxError(f"image_folder: {error.filename} can't be listed: {error.strerror}") from error


def readable_name(name: str) -> str:
    """The name itself; raises IceboxError for one that is not UTF-8, which no manifest could hold."""
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise IceboxError(f"image_folder: {name!r} is not a UTF-8 file name; rename it (convmv does many)") from error
    return name


def class_folder(image: PurePosixPath, *, depth: int) -> str:
    """The class: the folder at `depth`. Deeper folders may group images within a class."""
    if len(image.parts) < depth + 2:
        raise IceboxError(f"image_folder: {image} lies in no class folder; move it into one, or away")
    return image.parts[depth]


def match_group(name: str, pattern: str) -> str:
    """The group of a path: the first group of `pattern`, or else its whole match."""
    try:
        match = re.search(pattern, name)
    except re.error as error:
        raise IceboxError(f"image_folder: group: {pattern!r} is not a regular expression: {error}") from error
    group = match and match[1 if match.re.groups else 0]
    if not group:
        raise IceboxError(
            f"image_folder: group: {pattern!r} finds nothing in {name}; widen it, so each path has a group"
        )
    return group
