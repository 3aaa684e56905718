"""One bucket (or the whole of a scheme) through fsspec: listed page by page, read with checks, written once."""

import hashlib
import importlib.util
import os
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cache, partial
from pathlib import Path
from typing import Any

from icebox.features.buckets.retries import BucketError, Incomplete, Lost, retried, status_of
from icebox.features.buckets.urls import PACKAGES, bucket_of
from icebox.features.errors import IceboxError

KEYS_VARIABLE = "ICEBOX_BUCKET_KEYS"
KEYS_MAX = 5_000_000  # of one listing, some 300 bytes each in memory
PAGE_KEYS = 1000  # S3's own
IN_MEMORY_BYTES = 16 << 20  # up to which an object is one request and one piece
PIECE_BYTES = 8 << 20
MD5 = re.compile(r'"?([0-9a-f]{32})"?')
MODULES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "abfs": "adlfs", "abfss": "adlfs", "az": "adlfs"}
OPTIONS: dict[str, dict[str, Any]] = {  # pauses and repeats are ours, so that they do not multiply
    "s3": {
        "config_kwargs": {
            "retries": {"mode": "standard", "total_max_attempts": 1},
            "max_pool_connections": 32,
            "connect_timeout": 20,
            "read_timeout": 60,
        }
    }
}
OPTIONS["s3a"] = OPTIONS["s3"]
not_md5: set[str] = set()  # buckets whose ETags are no hashes of the contents, as those under KMS


@dataclass(frozen=True, slots=True)
class Entry:
    """An object: its URL, size, what changes with its content (ETag, else time), and when it was written."""

    url: str
    size_bytes: int
    version: str
    modified_ns: int


def listing_limit() -> int:
    """The number of keys that one listing may have."""
    named = os.environ.get(KEYS_VARIABLE, "")
    if named and not named.isdecimal():
        raise IceboxError(f"{KEYS_VARIABLE}: expected a whole number of keys, found {named!r}")
    return int(named) if named else KEYS_MAX


def filesystem(url: str) -> Any:
    """fsspec's filesystem for a URL, without its memory of listings. Raises BucketError without its package."""
    return opened(url.partition("://")[0].lower(), os.getpid())


@cache
def opened(scheme: str, pid: int) -> Any:
    """The filesystem of a scheme in this process: a forked child needs its own."""
    module = MODULES.get(scheme)
    if module and importlib.util.find_spec(module) is None:
        raise BucketError(
            f"{scheme}:// needs the library {module}, which is not installed: pip install {PACKAGES[scheme]}"
        )
    import fsspec

    made = fsspec.filesystem(scheme, use_listings_cache=False, **OPTIONS.get(scheme, {}))
    if module == "s3fs":
        made.retries = 1
    return made


def list_objects(url: str, *, deep: bool = True) -> Iterator[Entry]:
    """The objects below a folder's URL, page by page, unordered; with `deep` those of folders in it, too.

    Without `deep`, the folders are entries of size -1. Raises IceboxError for more keys than a listing may have, for a
    key that can't be a path, and for a bucket that is missing or refuses. A folder without objects has none.
    """
    limit = listing_limit()
    root = url.rstrip("/")
    for number, entry in enumerate(listed(root, deep=deep), start=1):
        if number > limit:
            raise IceboxError(
                f"{root}: holds more than the {limit:,} keys that are listed at most; name a folder with fewer, "
                f"or raise {KEYS_VARIABLE}"
            )
        yield entry


def listed(root: str, *, deep: bool) -> Iterator[Entry]:
    """All entries below a URL."""
    fs = filesystem(root)
    pages = s3_pages(fs, root, deep=deep) if hasattr(fs, "call_s3") else folder_pages(fs, root, deep=deep)
    scheme = root.partition("://")[0]
    own = path_in(fs, root)
    for page in pages:
        for info in page:
            name = str(info["name"])
            if name.rstrip("/") == own.rstrip("/") or (info["type"] != "directory" and name.endswith("/")):
                continue  # the folder's own mark, which consoles make
            yield entry_of(info, f"{scheme}://{name.lstrip('/').rstrip('/')}", root)


def s3_pages(fs: Any, root: str, *, deep: bool) -> Iterator[list[dict[str, Any]]]:
    """S3's answers, one request each."""
    bucket, _, key = path_in(fs, root).partition("/")
    asked: dict[str, Any] = {"Bucket": bucket, "Prefix": f"{key}/" if key else "", "MaxKeys": PAGE_KEYS}
    asked |= {} if deep else {"Delimiter": "/"}
    while True:
        try:
            page = retried(root, "be listed", lambda: fs.call_s3("list_objects_v2", **asked))
        except FileNotFoundError as reason:
            raise BucketError(f"{root}: there is no bucket of this name; make it, or correct the address") from reason
        yield [
            *({"name": f"{bucket}/{each['Key']}", "size": each["Size"], "type": "file", **each}
              for each in page.get("Contents", ())),
            *({"name": f"{bucket}/{each['Prefix']}", "size": 0, "type": "directory"}
              for each in page.get("CommonPrefixes", ())),
        ]  # fmt: skip
        if not page.get("IsTruncated"):
            return
        asked["ContinuationToken"] = page["NextContinuationToken"]


def folder_pages(fs: Any, root: str, *, deep: bool) -> Iterator[list[dict[str, Any]]]:
    """The folders of another filesystem, one by one."""
    waiting = [path_in(fs, root)]
    while waiting:
        folder = waiting.pop()
        try:
            page = retried(root, "be listed", partial(fs.ls, folder, detail=True))
        except FileNotFoundError:
            continue
        folders = [info for info in page if info["type"] == "directory"]
        if deep:
            waiting += [info["name"] for info in folders]
            page = [info for info in page if info["type"] != "directory"]
        yield page


def entry_of(info: dict[str, Any], url: str, root: str) -> Entry:
    """An entry of a listing. Raises IceboxError for a key that no path can be: it might lead out of a folder."""
    parts = url.partition("://")[2].split("/")
    if any(part in ("", ".", "..") for part in parts) or "\0" in url:
        raise IceboxError(
            f"{root}: holds the key {url!r}, which can be no file's path (an empty part, '.', '..' or NUL in it); "
            "rename it, or name a folder without it"
        )
    if info["type"] == "directory":
        return Entry(url, -1, "", 0)
    return Entry(url, int(info["size"] or 0), version_of(info), modified_ns(info))


def version_of(info: dict[str, Any]) -> str:
    """An object's version, which changes with its content: ETag, md5 or time."""
    for name in ("ETag", "etag", "md5Hash", "content_md5"):
        if info.get(name):
            return str(info[name]).strip('"')
    return str(modified_ns(info))


def modified_ns(info: dict[str, Any]) -> int:
    """When an object was written, by its server."""
    for name in ("LastModified", "last_modified", "updated", "mtime", "created"):
        value = info.get(name)
        if isinstance(value, str):
            value = datetime.fromisoformat(value)
        if isinstance(value, datetime):
            return int(value.timestamp() * 1_000_000) * 1000
        if isinstance(value, int | float):
            return int(value * 1e9)
    return 0


def path_in(fs: Any, url: str) -> str:
    """A URL's path as its filesystem names it."""
    return str(fs._strip_protocol(url))


def stat(url: str) -> Entry | None:
    """The object, or the folder (its size is -1), at a URL; None where there is none."""
    fs = filesystem(url)
    try:
        info = retried(url, "be looked at", lambda: fs.info(path_in(fs, url)))
    except FileNotFoundError:
        return None
    return entry_of(info, url, url)


def read(entry: Entry) -> bytes:
    """The bytes of an object, of its size and, where the bucket tells it, with its hash."""
    fs, bucket = filesystem(entry.url), bucket_of(entry.url)
    earlier: set[str] = set()

    def once() -> bytes:
        content = piece(fs, entry, 0, entry.size_bytes)
        if (match := MD5.fullmatch(entry.version)) and bucket not in not_md5:
            digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
            if digest == match[1]:
                return content
            changed(entry)
            if digest not in earlier:
                earlier.add(digest)
                raise Incomplete("other bytes came than were put")
            not_md5.add(bucket)  # twice the same: the ETag is no hash
        return content

    return retried(entry.url, "be read", once)


def changed(entry: Entry) -> None:
    """Raise IceboxError where an object is no longer the one that was listed."""
    now = stat(entry.url)
    if now is None:
        raise FileNotFoundError
    if (now.size_bytes, now.version) != (entry.size_bytes, entry.version):
        raise IceboxError(f"{entry.url}: has changed since it was listed; run this again")


def read_range(entry: Entry, start: int, stop: int) -> bytes:
    """Bytes `start` to `stop` of an object."""
    fs = filesystem(entry.url)
    return retried(entry.url, "be read", partial(piece, fs, entry, start, min(stop, entry.size_bytes)))


def piece(fs: Any, entry: Entry, start: int, stop: int) -> bytes:
    """Bytes `start` to `stop` in one request. Raises Incomplete where fewer come."""
    if start >= stop:
        return b""
    content: bytes = fs.cat_file(path_in(fs, entry.url), start=start, end=stop)  # without a range, s3fs asks twice
    if len(content) != stop - start:
        changed(entry)
        raise Incomplete(f"{len(content):,} bytes came of {stop - start:,}")
    return content


def download(entry: Entry, target: Path) -> None:
    """Write an object to a file, in pieces where it is large. What is large is checked by its size alone."""
    if entry.size_bytes <= IN_MEMORY_BYTES:
        target.write_bytes(read(entry))
        return
    with target.open("wb") as stream:
        for start in range(0, entry.size_bytes, PIECE_BYTES):
            stream.write(read_range(entry, start, start + PIECE_BYTES))
    changed(entry)


def put_if_absent(url: str, content: bytes) -> Entry:
    """Put an object, unless there is one of this name, and see that one is there → the object that is there.

    Nobody sees half of it: buckets show an object when all of it has come. One that a server accepted and lost is put
    again.
    """
    fs = filesystem(url)
    path = path_in(fs, url)

    def once() -> Entry:
        try:
            if fs.protocol == "memory":
                with memory_lock:  # of one process
                    if not fs.exists(path):
                        fs.pipe_file(path, content)
            else:
                fs.pipe_file(path, content, mode="create")
        except FileExistsError:
            pass
        except OSError as reason:
            if not is_precondition(reason):
                raise
        entry = stat(url)
        if entry is None:
            raise Lost("it was accepted, and is not there")
        return entry

    return retried(url, "be written", once)


memory_lock = threading.Lock()


def is_precondition(error: BaseException) -> bool:
    """Whether a put was refused since there is an object of its name (or one that another is putting just now)."""
    return status_of(error) in (409, 412)


def delete(url: str) -> None:
    """Remove an object; one that is gone already is no error."""
    fs = filesystem(url)
    try:
        retried(url, "be removed", lambda: fs.rm_file(path_in(fs, url)))
    except FileNotFoundError:
        return
