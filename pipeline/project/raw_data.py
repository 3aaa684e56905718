"""Stamps of raw data: DVC does not watch it, so the check tells its manifest stage that files came, changed or went.

A stamp is a hash of the names and contents of all files at a dataset's paths, so it is the same on every machine; of a
bucket's, of the names, sizes and ETags that a listing gives.
Reading everything on each run would cost minutes; a record of this machine's names, sizes and times says when to.
Where the data is not (a clone that only refits heads), the stamp is the one that the manifest was made with.
"""

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from icebox.features import files, fingerprint
from icebox.features.buckets.path import BucketPath
from icebox.features.buckets.retries import BucketError
from icebox.features.errors import IceboxError
from icebox.features.json_files import read_json
from icebox.features.manifest.known_contents import UNKNOWN, FileStates, KnownContents

logger = logging.getLogger("icebox")

ABSENT = "absent"


@dataclass(frozen=True)
class RawFile:
    """A file of a dataset: its path from the dataset's own, its place, and when it was last written."""

    name: str
    path: Path
    size_bytes: int
    modified_ns: int
    version: str = ""  # of an object in a bucket, which changes with its content: such a one is not read


def stamp(places: Sequence[Path], *, record: Path, summary: Path, named: Mapping[str, Path] | None = None) -> str:
    """The stamp of the files at `places`, and of those `named` by items, for the manifest stage to depend on.

    `record` is this machine's, `summary` what the manifest stage left: `content` of the files that it read, `named` of
    those that its items name, and the `stamp` with which it ran. Stamp and content differ where the stage itself
    downloaded the files.
    """
    left = read_json(summary, {"stamp": str, "content": str}) if summary.exists() else {}
    try:
        content = content_of(places, record=record)
        content_of_named = content_of_files(list_named(named or {}), record=record_of_named(record))
    except BucketError as error:
        if not left:
            raise
        logger.warning("%s; taking its data for what it was", error)
        return str(left["stamp"])
    if left and content in (ABSENT, left["content"]) and content_of_named in (ABSENT, left.get("named")):
        return str(left["stamp"])
    return content if content_of_named == ABSENT else fingerprint.of_settings([content, content_of_named])


def contents_of(places: Sequence[Path], named: Mapping[str, Path], *, record: Path) -> dict[str, str]:
    """A summary of the files at `places` and of those that items name: a hash of each."""
    content_of_named = content_of_files(list_named(named), record=record_of_named(record))
    return {
        "content": content_of(places, record=record),
        **({} if content_of_named == ABSENT else {"named": content_of_named}),
    }


def record_of_named(record: Path) -> Path:
    """The record of the files that a dataset's items name, beside that of its own."""
    return record.with_suffix(".named.json")


def content_of(places: Sequence[Path], *, record: Path) -> str:
    """A hash of names and contents of the files at `places`; `absent` where there is none."""
    return content_of_files(list_files(places), record=record)


def content_of_files(found: Iterable[RawFile], *, record: Path) -> str:
    """A hash of files' names and contents, read only where `record` has another listing; `absent` for none."""
    listed = list(found)
    if not listed:
        return ABSENT
    if all(file.version for file in listed):
        return fingerprint.of_settings([[file.name, file.size_bytes, file.version] for file in listed])
    listing = fingerprint.of_settings([[f.name, f.size_bytes, f.version or f.modified_ns] for f in listed])
    with suppress(IceboxError):  # without a record, or with a damaged one, everything is read
        known = read_json(record, {"listing": str, "content": str})
        if known["listing"] == listing:
            return str(known["content"])
    digest = hashlib.sha256()
    for file, content in zip(listed, sums(listed, record=record.with_suffix(".parquet")), strict=True):
        digest.update(f"{file.name}\0{content}\n".encode("utf-8", "surrogateescape"))
    files.write_text(record, json.dumps({"listing": listing, "content": digest.hexdigest()}) + "\n")
    return digest.hexdigest()


def sums(listed: Sequence[RawFile], *, record: Path) -> Iterator[str]:
    """The sha256 of each file, of an object its size and version; files are read that `record` does not know."""
    names = [file.name.encode("utf-8", "backslashreplace").decode() for file in listed]
    paths = {name: None if file.version else file.path for name, file in zip(names, listed, strict=True)}
    states, known = FileStates.of(names, paths.get), KnownContents(record, "sha256")
    keys, unread = known.keys(names, states)
    for position in np.flatnonzero(unread == UNKNOWN).tolist():
        if not listed[position].version:
            keys[position] = np.frombuffer(bytes.fromhex(fingerprint.of_file(listed[position].path)), np.uint8)
    if states.certain.any():
        known.write(names, states, keys, np.zeros(len(names), np.int16))
    for file, key in zip(listed, keys, strict=True):
        yield f"{file.size_bytes} {file.version}" if file.version else key.tobytes().hex()


def list_files(places: Sequence[Path]) -> Iterator[RawFile]:
    """The files at `places`, in the order of their names; hidden ones left out, since datasets pass over them."""
    for number, place in enumerate(places):
        if isinstance(place, BucketPath):
            for object_path, entry in place.objects():
                name = f"{number}/{object_path.relative_to(place) if object_path != place else place.name}"
                yield RawFile(name, object_path, entry.size_bytes, entry.modified_ns, entry.version)
            continue
        paths = [place] if place.is_file() else sorted(walk(place))
        for path in paths:
            status = path.stat()
            name = f"{number}/{path.relative_to(place)}" if path != place else f"{number}/{path.name}"
            yield RawFile(name, path, status.st_size, status.st_mtime_ns)


def list_named(named: Mapping[str, Path]) -> Iterator[RawFile]:
    """The files under the names that items give them, as far as they are there."""
    for name, path in named.items():
        if isinstance(path, BucketPath):
            yield from (RawFile(name, path, e.size_bytes, e.modified_ns, e.version) for path, e in path.objects())
        elif os.path.isfile(path):  # noqa: PTH113  (False also for a name that can't be one)
            status = path.stat()
            yield RawFile(name, path, status.st_size, status.st_mtime_ns)


def walk(folder: Path) -> Iterator[Path]:
    """Every file below a folder, also behind links, each folder once; without hidden ones and broken links."""
    visited: set[tuple[int, int]] = set()
    for parent, folders, names in os.walk(folder, followlinks=True):
        status = Path(parent).stat()
        if (status.st_dev, status.st_ino) in visited:  # a link to a folder above itself would never end
            folders.clear()
            continue
        visited.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in names:
            path = Path(parent, name)
            if not name.startswith(".") and path.is_file():
                yield path
