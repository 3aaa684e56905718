"""Pictures in a folder whose subfolders are the classes: `roses/1.jpg`, or with official splits `train/roses/1.jpg`."""

import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from icebox.features import files
from icebox.features.abc.dataset import Content, Dataset, Item, Modality
from icebox.features.errors import IceboxError
from icebox.features.splits import canonical_split_name, is_split

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}


class Source(Dataset):
    """One item a picture; its id and source are its path from `path`, its label the folder of its class.

    Where every top folder that holds pictures is called train, val, valid, validation, dev, test or test-NAME (a
    further test set), these are the official splits and the classes lie one level deeper. `group` is a regular
    expression looked for in each path: its first group, or else all that it matches, names the items that must share a
    split (`person\\d+` for patients).
    """

    modality: Modality = "image"

    def __init__(self, *, path: Path, group: str | None = None) -> None:
        self.path = Path(path)
        self.group = group

    def items(self) -> Iterator[Item]:
        """Ordered by path, whatever the file system's own order.

        Raises IceboxError for a folder that is missing, unreadable or not made of at least two classes, and for a
        path without a group.
        """
        pictures = pictures_in(self.path)
        split = all(is_split(canonical_split_name(picture.parts[0])) for picture in pictures)
        labels = [class_of(picture, depth=1 if split else 0) for picture in pictures]
        if len(set(labels)) < 2:
            raise IceboxError(
                f"image_folder: {self.path}: expected at least two class folders with pictures "
                f"({', '.join(sorted(SUFFIXES))}), found {', '.join(sorted(set(labels))) or 'none'}"
            )
        for picture, label in zip(pictures, labels, strict=True):
            name = str(picture)
            yield Item(
                item_id=name,
                source=name,
                label=label,
                split=canonical_split_name(picture.parts[0]) if split else "",
                group=group_of(name, self.group) if self.group else "",
            )

    def read(self, source: str) -> Content:
        """The file's bytes; raises IceboxError for a file that is gone, unreadable or outside the folder."""
        return files.read_contained(self.path, source)


def pictures_in(root: Path) -> list[PurePosixPath]:
    """Every picture's path from `root`, sorted as text; hidden files and folders are passed over."""
    if not root.is_dir():
        raise IceboxError(
            f"image_folder: there is no folder {root} (looked in {Path.cwd()}); put the pictures there, a folder a "
            f"class: {root / 'CLASS' / 'NAME.jpg'}, or correct `path`"
        )
    found = []
    for folder, folders, names in os.walk(root, onerror=refuse_unreadable):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in folders:
            if Path(folder, name).is_symlink():  # os.walk would pass it over in silence
                raise IceboxError(f"image_folder: {Path(folder, name)} is a link; put the folder itself there")
        for name in names:
            path = Path(folder, name)
            if path.suffix.lower() in SUFFIXES and not name.startswith("."):
                relative = path.relative_to(root).as_posix()
                if path.is_symlink():
                    files.contained_path(root, relative)
                found.append(readable_name(relative))
    return [PurePosixPath(name) for name in sorted(found)]


def refuse_unreadable(error: OSError) -> None:
    """os.walk would leave out what it can't list."""
    raise IceboxError(f"image_folder: {error.filename} can't be listed: {error.strerror}") from error


def readable_name(name: str) -> str:
    """Refuse a file name of another encoding, which no manifest could hold."""
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise IceboxError(f"image_folder: {name!r} is not a UTF-8 file name; rename it (convmv does many)") from error
    return name


def class_of(picture: PurePosixPath, *, depth: int) -> str:
    """The folder at `depth`; deeper folders are the user's own business."""
    if len(picture.parts) < depth + 2:
        raise IceboxError(f"image_folder: {picture} lies in no class folder; move it into one, or away")
    return picture.parts[depth]


def group_of(name: str, pattern: str) -> str:
    """What `pattern` finds in the path: its first group, or else the whole match."""
    try:
        match = re.search(pattern, name)
    except re.error as error:
        raise IceboxError(f"image_folder: group: {pattern!r} is not a regular expression: {error}") from error
    found = match and match[1 if match.re.groups else 0]
    if not found:
        raise IceboxError(
            f"image_folder: group: {pattern!r} finds nothing in {name}; widen it, so each path has a group"
        )
    return found
