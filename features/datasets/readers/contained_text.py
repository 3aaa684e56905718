"""Small text files in a dataset's folder: lists of names, annotations, names of classes."""

from pathlib import Path

from icebox.features import files
from icebox.features.errors import IceboxError

LIMIT_BYTES = 1 << 24


def read_limited(root: Path, name: str, *, limit_bytes: int = LIMIT_BYTES) -> bytes:
    """The bytes of the file `name` in `root`. Raises IceboxError as files.read_contained, and for a larger file."""
    path = files.contained_path(root, name)
    try:
        size_bytes = path.stat().st_size if path.is_file() else 0
    except OSError as reason:
        raise files.unreadable(path, reason) from reason
    if size_bytes > limit_bytes:
        raise IceboxError(f"datasets: {root / name}: {size_bytes:,} bytes, at most {limit_bytes:,} are taken")
    return files.read_contained(root, name)


def read_text(root: Path, name: str) -> str:
    """The text of the file `name` in `root`. Raises IceboxError as `read_limited`, and for one that is not UTF-8."""
    content = read_limited(root, name)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as reason:
        raise IceboxError(
            f"datasets: {root / name}: expected text in UTF-8, found byte 0x{content[reason.start]:02x} at "
            f"{reason.start:,}; store it as UTF-8"
        ) from reason
    if "\0" in text:
        raise IceboxError(f"datasets: {root / name}: expected text, found NUL characters")
    return text


def read_lines(root: Path, name: str) -> list[str]:
    """The lines of a text file, without blanks around them and without empty ones."""
    return [line.strip() for line in read_text(root, name).splitlines() if line.strip()]
