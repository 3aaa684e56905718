"""Files that a table or a folder names must lie in their folder: neither `..` nor a link leads out of it."""

from pathlib import Path

from icebox.features.errors import IceboxError


def inside(root: Path, name: str) -> Path:
    """The file itself, links followed. Raises IceboxError where it lies outside `root`."""
    path = (root / name).resolve()
    if not path.is_relative_to(root.resolve()):
        raise IceboxError(f"datasets: {root / name} leads out of the folder, to {path}; put the file itself there")
    return path


def content(root: Path, name: str) -> bytes:
    """The file's bytes. Raises IceboxError for one that is gone, unreadable or outside `root`."""
    try:
        return inside(root, name).read_bytes()
    except OSError as error:
        raise IceboxError(f"datasets: {root / name} can't be read: {error.strerror}") from error
