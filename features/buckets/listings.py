"""Listings of a bucket's folders, remembered in this process, and single objects that were asked for before one."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass

from icebox.features.buckets import bucket
from icebox.features.buckets.bucket import Entry
from icebox.features.errors import IceboxError

ASKED_SINGLY = 16  # objects of a folder, before the folder is listed instead


@dataclass(frozen=True)
class Order:
    """The names of a folder's objects, sorted, and the number of each."""

    names: list[str]
    numbers: dict[str, int]


class Listings:
    """Listings of buckets: {URL of a folder: {name in it: entry}}, asked for once in a process.

    An object that changes meanwhile is noticed when it is read.
    """

    folders: dict[str, dict[str, Entry]] = {}  # noqa: RUF012  the one place of the process
    single: dict[str, dict[str, Entry | None]] = {}  # noqa: RUF012
    orders: dict[str, Order] = {}  # noqa: RUF012
    wholly: set[str] = set()  # noqa: RUF012
    lock = threading.RLock()

    @classmethod
    def forget(cls, url: str) -> None:
        """Ask anew for an object or folder, and for all below it."""
        with cls.lock:
            if cls._is_known(url):  # as a part of a larger listing, which goes as a whole
                url = next(root for root in cls.wholly if is_within(url, root))
            parent, _, name = url.rpartition("/")
            cls.single.get(parent, {}).pop(name, None)
            cls.folders.pop(parent, None)
            cls.orders.pop(parent, None)
            for known in (cls.folders, cls.orders, cls.single):
                for folder in [each for each in known if is_within(each, url)]:
                    del known[folder]
            cls.wholly = {root for root in cls.wholly if not is_within(root, url)}

    @classmethod
    def forget_all(cls) -> None:
        """Ask anew for everything."""
        with cls.lock:
            cls.folders.clear()
            cls.orders.clear()
            cls.single.clear()
            cls.wholly.clear()

    @classmethod
    def folder(cls, url: str) -> Mapping[str, Entry]:
        """The entries of one folder; none where there is no such folder."""
        with cls.lock:
            if url not in cls.folders:
                listed: dict[str, dict[str, Entry]] = {url: {}}
                for entry in () if cls._is_known(url) else bucket.list_objects(url, deep=False):
                    add(listed, entry, url)
                cls.folders[url] = listed[url]
            return cls.folders[url]

    @classmethod
    def order(cls, url: str) -> "Order | None":
        """A folder's objects by name; None for a folder that was not listed."""
        with cls.lock:
            if url not in cls.folders:
                return None
            if url not in cls.orders:
                names = sorted(name for name, entry in cls.folders[url].items() if entry.size_bytes >= 0)
                cls.orders[url] = Order(names, {name: number for number, name in enumerate(names)})
            return cls.orders[url]

    @classmethod
    def deep(cls, url: str) -> None:
        """List a folder and all below it, which takes fewer requests than one by one."""
        with cls.lock:
            if cls._is_known(url):
                return
            listed: dict[str, dict[str, Entry]] = {url: {}}
            for entry in bucket.list_objects(url):  # which may fail at any page: then nothing of it counts
                add(listed, entry, url)
            cls.folders |= listed
            cls.orders.clear()
            cls.wholly.add(url)

    @classmethod
    def entry(cls, url: str) -> Entry | None:
        """The object or folder at a URL; None where there is none."""
        parent, _, name = url.rpartition("/")
        with cls.lock:
            if parent.endswith("/") or not name:  # a bucket itself
                return Entry(url, -1, "", 0) if cls.folder(url) else None
            if parent in cls.folders or cls._is_known(parent):
                return cls.folders.get(parent, {}).get(name)
            known = cls.single.setdefault(parent, {})
            if name in known:
                return known[name]
            if len(known) >= ASKED_SINGLY:
                return cls.folder(parent).get(name)
        found = bucket.stat(url)
        with cls.lock:
            known[name] = found
        return found

    @classmethod
    def _is_known(cls, url: str) -> bool:
        return any(is_within(url, root) for root in cls.wholly)


def add(folders: dict[str, dict[str, Entry]], entry: Entry, root: str) -> None:
    """Add an entry below `root` to its folder, and the folders on the way to theirs.

    Raises IceboxError for an object that is called as a folder beside it; an empty one is the folder's own mark.
    """
    url = entry.url
    while True:
        parent, _, name = url.rpartition("/")
        siblings = folders.setdefault(parent, {})
        known = siblings.get(name)
        if known is None or (known.size_bytes == 0 and entry.size_bytes < 0):
            siblings[name] = entry
        elif (known.size_bytes < 0) != (entry.size_bytes < 0) and max(known.size_bytes, entry.size_bytes) > 0:
            raise IceboxError(
                f"{url}: is an object, and the beginning of others' keys; expected one or the other, as on a disk; "
                "rename it"
            )
        elif known.size_bytes < 0:
            return
        if parent == root:
            return
        url, entry = parent, Entry(parent, -1, "", 0)


def is_within(url: str, root: str) -> bool:
    """Whether a URL is that of a folder, or lies below it."""
    return url == root or url.startswith(f"{root}/")
