"""A URL as a Path: readers of files take one in place of the other, and read through the cache on this machine.

`s3://bucket/photos` is a folder when an object's key begins so. What takes a path-like (open, h5py, NumPy, pyarrow,
tarfile) gets a copy; `str` and errors show the URL.
"""

import errno
import hashlib
import os
import re
import stat as modes
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PosixPath, PurePosixPath
from typing import Any

from icebox.features.buckets import bucket, read_ahead, urls
from icebox.features.buckets.bucket import Entry
from icebox.features.buckets.listings import Listings
from icebox.features.buckets.local_cache import local_cache
from icebox.features.errors import IceboxError
from icebox.features.names import in_line

PARTS = re.compile(r"([a-z][a-z0-9+.-]*):/{1,2}(.*)", re.I | re.S)


def place(path: str | Path, *, where: str = "") -> Path:
    """The Path that a text of the settings names: a file, a folder, or a URL of a bucket; `file://` is a plain path.

    What this process has listed there is asked for anew. Raises IceboxError for a URL with credentials, or of another
    scheme.
    """
    found = path_of(path, where=where)
    if isinstance(found, BucketPath):
        Listings.forget(str(found))
    return found


def path_of(path: str | Path, *, where: str = "") -> Path:
    """Like `place`, for what was listed a moment ago."""
    if isinstance(path, Path):
        return path
    if not urls.is_url(path):
        return Path(path)
    url = urls.checked(path, where=where)
    scheme, _, rest = url.partition("://")
    return Path("/" + rest.lstrip("/")) if scheme.lower() == urls.LOCAL else BucketPath(url)


class LeadsOut(IceboxError, ValueError):
    """A name that is joined to a folder and leads out of it."""


class BucketPath(PosixPath):
    """The path of an object, or of a folder of objects. Names that lead out of the folder they are joined to raise
    LeadsOut: a URL has no ".."."""

    def __str__(self) -> str:
        """The URL, or a name relative to one."""
        text = super().__str__()
        match = PARTS.fullmatch(text)
        return f"{match[1]}://{match[2]}" if match else text

    def __fspath__(self) -> str:
        """The path of a copy on this machine, whole."""
        if not self.is_url:
            return str(self)
        entry = self._file()
        return str(
            local_cache().file(copy_name(entry), entry.size_bytes, lambda to: bucket.download(entry, to), pin=True)
        )

    def __truediv__(self, name: Any) -> "BucketPath":
        return super().__truediv__(inner(name))

    def joinpath(self, *names: Any) -> "BucketPath":
        """The path of something in this folder."""
        return super().joinpath(*map(inner, names))

    def __reduce__(self) -> tuple[Any, ...]:
        return BucketPath, (str(self),)

    @property
    def is_url(self) -> bool:
        """Whether it is whole, and not a name relative to another."""
        return "://" in str(self)

    def is_absolute(self) -> bool:
        """A URL always is."""
        return self.is_url

    def resolve(self, strict: bool = False) -> "BucketPath":
        """The path itself: buckets have no links."""
        return self

    absolute = expanduser = resolve

    def is_symlink(self) -> bool:
        """Never: buckets have no links."""
        return False

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """Size and time. Raises FileNotFoundError where there is neither an object nor a folder."""
        entry = Listings.entry(str(self))
        if entry is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self))
        kind = modes.S_IFDIR if entry.size_bytes < 0 else modes.S_IFREG
        seconds = entry.modified_ns // 10**9
        basic = (kind | 0o444, 0, 0, 1, 0, 0, max(0, entry.size_bytes), seconds, seconds, seconds)
        times = {name: entry.modified_ns for name in ("st_atime_ns", "st_mtime_ns", "st_ctime_ns")}
        return os.stat_result(basic, times)

    def exists(self, *, follow_symlinks: bool = True) -> bool:
        """Whether there is an object or a folder."""
        return Listings.entry(str(self)) is not None

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        """Whether it is an object."""
        entry = Listings.entry(str(self))
        return entry is not None and entry.size_bytes >= 0

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        """Whether objects lie below it."""
        entry = Listings.entry(str(self))
        return entry is not None and entry.size_bytes < 0

    def iterdir(self) -> Iterator["BucketPath"]:  # type: ignore[override]
        """Objects and folders in this one, by name."""
        return (self / name for name in sorted(Listings.folder(str(self))))

    def rglob(self, pattern: str, **_: Any) -> Iterator["BucketPath"]:  # type: ignore[override]
        """All below whose name matches a pattern."""
        return self.glob(f"**/{pattern}")

    def glob(self, pattern: str, **_: Any) -> Iterator["BucketPath"]:  # type: ignore[override]
        """All below that match a pattern, by name; `**` is any folder."""
        fits = re.compile(translated(pattern)).fullmatch
        for folder, folders, names in self.walk():
            for name in (*folders, *names):
                path = folder / name
                if fits(path.relative_to(self).as_posix()):
                    yield path

    def walk(self, *_: Any, **__: Any) -> Iterator[tuple["BucketPath", list[str], list[str]]]:
        """(folder, names of folders in it, names of objects in it) from the top; the lists of folders may be cut."""
        Listings.deep(str(self))
        waiting = [self]
        while waiting:
            folder = waiting.pop()
            entries = Listings.folder(str(folder))
            folders = sorted(name for name, entry in entries.items() if entry.size_bytes < 0)
            yield folder, folders, sorted(name for name, entry in entries.items() if entry.size_bytes >= 0)
            waiting += [folder / name for name in reversed(folders)]

    def objects(self) -> Iterator[tuple["BucketPath", Entry]]:
        """All objects below that are not hidden, or the object itself, by name."""
        entry = Listings.entry(str(self))
        if entry is not None and entry.size_bytes >= 0:
            yield self, entry
        elif entry is not None:
            for folder, folders, names in self.walk():
                folders[:] = [name for name in folders if not name.startswith(".")]
                entries = Listings.folder(str(folder))
                yield from ((folder / name, entries[name]) for name in names if not name.startswith("."))

    def read_bytes(self) -> bytes:
        """The object's bytes, from the copy where there is one."""
        entry = self._file()
        read_ahead.before(entry, copied)
        return copied(entry)

    def _file(self) -> Entry:
        """The object. Raises FileNotFoundError where there is none, IsADirectoryError for a folder."""
        entry = Listings.entry(str(self))
        if entry is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self))
        if entry.size_bytes < 0:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(self))
        return entry


def inner(name: Any) -> Any:
    """A name that is joined to a folder. Raises LeadsOut for one that leads out of it."""
    text = str(name)
    if text.startswith("/") or "\0" in text or ".." in PurePosixPath(text).parts or PARTS.fullmatch(text):
        raise LeadsOut(
            f"datasets: {in_line(text)}: expected the name of a file in the folder, found one that leads out of it"
        )
    return text


def common_folder(folders: Sequence[Path]) -> Path:
    """The folder that holds all of these; the first where they have none in common."""
    if not any(isinstance(folder, BucketPath) for folder in folders):
        same = len({folder.is_absolute() for folder in folders}) == 1
        return Path(os.path.commonpath(folders)) if same else folders[0]
    return next(
        (each for each in (folders[0], *folders[0].parents) if all(folder.is_relative_to(each) for folder in folders)),
        folders[0],
    )


def copied(entry: Entry) -> bytes:
    """The bytes of an object, from its copy, which is made where there is none."""
    return local_cache().read(copy_name(entry), entry.size_bytes, lambda: bucket.read(entry))


def copy_name(entry: Entry) -> str:
    """The name of an object's copy, which tells what it is a copy of, and is none of the key's parts."""
    digest = hashlib.sha256(
        f"{entry.url}\0{entry.version}\0{entry.size_bytes}".encode("utf-8", "surrogatepass")
    ).hexdigest()
    return f"objects/{digest[:2]}/{digest[2:42]}"


def translated(pattern: str) -> str:
    """A pattern as a regular expression."""
    import fnmatch

    text = ""
    for part in PurePosixPath(pattern).parts:
        text += (
            "(?:.*/)?"
            if part == "**"
            else fnmatch.translate(part).removeprefix("(?s:").removesuffix(r")\Z").replace(".*", "[^/]*") + "/"
        )
    return text.removesuffix("/")


def walk(root: Path, onerror: Callable[[OSError], object] | None = None) -> Iterator[tuple[Path, list[str], list[str]]]:
    """os.walk for both: (folder, names of folders in it, names of files in it), the lists of folders may be cut."""
    if isinstance(root, BucketPath):
        yield from root.walk()
        return
    for folder, folders, names in os.walk(root, onerror=onerror):
        yield Path(folder), folders, names
