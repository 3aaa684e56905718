"""Images that a table lists by path: with backslashes, without an ending or without their folder, too."""

import difflib
from functools import cached_property
from pathlib import Path, PurePosixPath

from icebox.features import files
from icebox.features.abc.account import Account
from icebox.features.buckets.path import walk
from icebox.features.errors import IceboxError
from icebox.features.images.decoding import IMAGE_SUFFIXES
from icebox.features.names import in_line


class ListedImages:
    """The image files in a folder, found by what a table calls them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find(self, name: str, account: Account) -> str:
        """The path, relative to the folder, of the file that `name` means; `name` itself where there is none.

        A file of exactly this path comes first; then the one with slashes for backslashes; then the only image whose
        path ends so, with or without its ending. What was not found by its path is noted.
        """
        if self.exists(name):
            return name
        slashes = name.replace("\\", "/")
        if slashes != name and self.exists(slashes):
            account.note("paths_with_backslashes", "paths with backslashes, read as slashes", name)
            return slashes
        found = self._by_name.get(slashes.casefold(), [])
        if len(found) == 1:
            account.note("found_by_name", "images found by their name, since no file has the path in the table", name)
            return found[0]
        return name

    def read(self, path: str) -> bytes:
        """The file's bytes. Raises IceboxError for one that is missing, unreadable or outside the folder."""
        try:
            return files.read_contained(self.folder, path)
        except IceboxError as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                raise
            several = self._by_name.get(path.replace("\\", "/").casefold(), [])
            near = several or difflib.get_close_matches(path, self._all, n=2, cutoff=0.6)
            nearest = ", ".join(map(in_line, near[:3]))
            advice = f"the nearest there: {nearest}" if near else "correct the path, or `folder`"
            raise IceboxError(f"{error}; {advice}") from error.__cause__

    def exists(self, path: str) -> bool:
        """Whether the folder has a file of exactly this path."""
        try:
            return bool(path) and (self.folder / path).exists()
        except (OSError, ValueError):  # a name too long, or with a NUL character
            return False

    @cached_property
    def _all(self) -> list[str]:
        """The images below the folder, by path."""
        found = []
        for folder, folders, names in walk(self.folder):
            folders[:] = [name for name in folders if not name.startswith(".")]
            relative = folder.relative_to(self.folder)
            found += [
                (relative / name).as_posix()
                for name in names
                if Path(name).suffix.lower() in IMAGE_SUFFIXES and not name.startswith(".")
            ]
        return sorted(found)

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        """{end of a path in small letters, with and without the ending: the images that have it}."""
        by_name: dict[str, list[str]] = {}
        for image in self._all:
            parts = PurePosixPath(image).parts
            for start in range(len(parts)):
                end = "/".join(parts[start:]).casefold()
                for key in (end, end.rpartition(".")[0]):
                    by_name.setdefault(key, []).append(image)
        return by_name
