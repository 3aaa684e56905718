"""The shard cache, a folder per fingerprint: every row ever computed under that fingerprint, for all stores.

Extraction resumes from it. A store is made of hard links to its shards, so that it outlives the store's folder.
"""

import logging
import os
import shutil
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from icebox.features import files
from icebox.features.buckets.path import BucketPath
from icebox.features.errors import IceboxError
from icebox.features.ragged import Values
from icebox.features.store import shards
from icebox.features.store.checksums import PROJECT, Checksums
from icebox.features.store.shard_cache.item_keys import ItemKeys
from icebox.features.store.shard_cache.known_headers import KnownHeaders
from icebox.features.store.shard_cache.places import LocatedKeys, RowLocation
from icebox.features.store.shard_cache.remote_shards import RemoteShards
from icebox.features.store.shards import DamagedShard, ForbiddenShard, Shard

logger = logging.getLogger("icebox")

COMPILED_MARKER = "compiled"  # a file among the shards
COMPILED_TEXT = "features here are a compiled network's\n"


class ShardCache:
    """The shards of one fingerprint in one folder, which several projects and users may share; of a bucket, those that
    this machine has made, and the bucket's.

    A shard is removed from it by pruning and compaction alone. One that is provably damaged is set aside under another
    name; one that can't be read now is an error and stays.
    """

    def __init__(self, root: Path, fingerprint: str) -> None:
        self.folder = on_this_machine(root) / fingerprint
        self.remote = RemoteShards(root, fingerprint) if isinstance(root, BucketPath) else None
        self.fingerprint = fingerprint
        self.checksums = Checksums(fingerprint)
        self.headers, self._checked = KnownHeaders(fingerprint, self.checksums.record), list[Shard]()

    @contextmanager
    def locked(self, *, wait: bool = False, together: bool = False) -> Iterator[None]:
        """Hold the lock that a writer must hold; `together` with others who only add shards.

        Raises IceboxError where another process holds it, unless it waits.
        """
        make_folder(self.folder)
        if together:
            with files.locked_together(self.folder / "lock", wait=wait):
                yield
        else:
            with files.locked(self.folder / "lock", wait=wait):
                files.sweep(self.folder)
                yield

    def paths(self) -> list[Path]:
        """All shards: of users who could not put theirs among the others' too."""
        own = sorted(self.folder.glob("user-*/"))
        return [path for folder in (self.folder, *own) for path in shards.paths(folder)]

    def places(self, wanted: Container[str] | None = None) -> dict[str, RowLocation]:
        """{item_key: place} of every row, or of the wanted ones, for the holder of the lock.

        Shards with a wanted row are compared with their names. A damaged one is set aside, and another user's that is
        not readable left alone, each with a warning: their rows will be computed again. Raises IceboxError for one that
        can't be read now.
        """
        places: dict[str, RowLocation] = {}
        for path in self.paths():
            shard = self._read_if_whole(path)
            if shard is None:
                continue
            rows = {
                key: RowLocation(shard, row)
                for row, key in enumerate(shard.item_keys)
                if (wanted is None or key in wanted) and key not in places
            }
            if rows and self._is_whole(path):
                places |= rows
        return self._with_remote(places, wanted) if self.remote else places

    def locate(self, wanted: LocatedKeys) -> None:
        """Locate the wanted keys whose rows are here, or in the bucket; as `places` does, in less memory."""
        known, self._checked = list[Shard](), []  # the last of the checked ones are added together
        for path in self.paths():
            shard = self._read_if_whole(path)
            if shard is None:
                continue
            if self.checksums.has(path):
                known.append(shard)
                self._checked.append(shard)
                continue
            wanted.add_all(known)
            known = []
            if (new := wanted.new_rows(shard)) and self._is_whole(path):
                wanted.add(shard, new)
                self._checked.append(shard)
        wanted.add_all(known)
        if self.remote:
            keys, located = set(ItemKeys(wanted.keys)), set(ItemKeys(wanted.keys[wanted.located]))
            for shard in self._remote_shards(keys, located):
                wanted.add(shard)

    def _with_remote(self, places: dict[str, RowLocation], wanted: Container[str] | None) -> dict[str, RowLocation]:
        """These places, and those of the wanted rows that only the bucket has."""
        for shard in self._remote_shards(wanted, places):
            for row, key in enumerate(shard.item_keys):
                if wanted is None or key in wanted:
                    places.setdefault(key, RowLocation(shard, row))
        return places

    def _remote_shards(self, wanted: Container[str] | None, located: Container[str]) -> Iterator[Shard]:
        """Copies of the bucket's shards with wanted rows that are not located yet."""
        assert self.remote
        own = [path.name for path in self.paths()]
        for path in self.remote.fetched(wanted, located=located, but=own):
            self.checksums.add(path)
            if shard := self._read_if_whole(path):
                yield shard
        if COMPILED_MARKER in self.remote.listed():
            files.write_text(self.folder / COMPILED_MARKER, COMPILED_TEXT)

    def remember(self, made: Iterable[Shard]) -> None:
        """Keep the headers of shards that `locate` compared with their names, and of those `made` since."""
        self.headers.keep([*self._checked, *made])

    def begun(self) -> bool:
        """Whether there are features of this fingerprint, here or in the bucket."""
        return bool(self.paths()) or (self.remote is not None and self.remote.has_any())

    def share(self) -> None:
        """See that the bucket, if there is one, has all shards of this machine.

        Raises IceboxError where some can't be put: they stay here, and the next call puts them.
        """
        if self.remote:
            self._share_mark()
            self.remote.put_missing(self.paths())

    def _share_mark(self) -> None:
        assert self.remote
        if (self.folder / COMPILED_MARKER).exists() and COMPILED_MARKER not in self.remote.listed():
            self.remote.put_mark(COMPILED_MARKER)

    def _read_if_whole(self, path: Path) -> Shard | None:
        try:
            shard = self._known_header(path) or shards.read(path)
        except DamagedShard as damage:
            self._set_aside(path, damage)
            return None
        except ForbiddenShard as reason:
            logger.warning("%s; it stays, and its rows will be extracted beside it", reason)
            return None
        except IceboxError:
            if files.exists(path):
                raise
            return None  # another process has pruned it
        if shard.fingerprint != self.fingerprint:
            logger.warning(
                "%s: expected a shard of fingerprint %s, found %s", path, self.fingerprint, shard.fingerprint
            )
            return None
        return shard

    def _known_header(self, path: Path) -> Shard | None:
        """The header of a shard that was compared with its name, from the record."""
        readable = os.access(path, os.R_OK)  # another user's may not be
        return self.headers.get(path) if readable and self.checksums.has(path) else None

    def _is_whole(self, path: Path) -> bool:
        try:
            self.checksums.check(path)
        except DamagedShard as damage:
            self._set_aside(path, damage)
            return False
        except ForbiddenShard:
            return False
        return True

    def _set_aside(self, path: Path, damage: DamagedShard) -> None:
        kept = shards.set_aside(path)
        logger.warning("%s; kept as %s, and its rows will be extracted again", damage, kept.name)

    def take(self, shard: Shard) -> None:
        """Link a shard from elsewhere, of this fingerprint and compared with its name, into the cache."""
        cached = self.folder / shard.path.name
        if not (files.exists(cached) and self._is_whole(cached)):
            self._link(shard.path, shards.free_place(self.folder, shard.path.name))

    def write(
        self,
        *,
        item_keys: Sequence[str],
        features: Mapping[str, Values],
        errors: Mapping[int, str],
        remarks: Mapping[int, str] | None = None,
    ) -> Shard:
        """Write rows as a new shard: see `shards.write`."""
        path = shards.write(
            self.folder,
            store_fingerprint=self.fingerprint,
            item_keys=item_keys,
            features=features,
            errors=errors,
            remarks=remarks,
        )
        return self._added(path)

    def receive(self, name: str, content: np.ndarray) -> Shard:
        """Write a shard of this name that was made on another machine. Raises DamagedShard for other bytes."""
        with files.temporary_in(self.folder) as temporary:
            content.tofile(temporary)
            shards.check(temporary, named=self.folder / name)
            temporary.chmod(shards.read_only(temporary))
            path = shards.free_place(self.folder, name)
            files.publish(temporary, path)
        return self._added(path)

    def _added(self, path: Path) -> Shard:
        """A shard that was written a moment ago, noted as checked, and put into the bucket."""
        self.checksums.add(path)
        if self.remote:
            try:
                self._share_mark()
                self.remote.put(path)
            except IceboxError as error:
                logger.warning("%s; %s stays on this machine, and is put there at the end", error, path.name)
        return shards.read(path)

    def link_into(self, store: Path, paths: Iterable[Path]) -> None:
        """Link shards of this cache, which `places` or `write` gave, into a store's folder."""
        for path in paths:
            target = store / path.name
            try:
                os.link(path, target)
            except OSError:  # there is a file of this name, or the file system can't link
                if not (files.exists(target) and target.samefile(path)):
                    self._link(path, target)
        files.flush(store)  # once: a shard of the cache is on the disk already

    def holds(self, path: Path) -> bool:
        """Whether a store's shard is the very file that is in this cache, and was compared with its name."""
        try:
            same = (self.folder / path.name).samefile(path)
        except OSError:
            return False
        return same and self.checksums.has(path)

    def _link(self, source: Path, target: Path) -> None:
        """Hard-link a shard, or copy it where the file system can't link. Atomic, and never through an existing file.

        Shards are immutable and read-only, so a file with two names is safe. A copy is compared with its name.
        """
        with files.temporary_in(target.parent) as temporary:
            try:
                os.link(source, temporary)
                copied = False
            except OSError:
                copy(source, temporary)
                copied = True
            files.publish(temporary, target)
        if copied:
            self.checksums.add(target)


def on_this_machine(root: Path) -> Path:
    """The folder in which the shards lie that this machine has made: of a bucket, the working folder's own."""
    return PROJECT / "shards" if isinstance(root, BucketPath) else root


def copy(source: Path, target: Path) -> None:
    """Copy a shard. Raises IceboxError where it is damaged, can't be read, or is gone."""
    try:
        shutil.copyfile(source, target)
    except OSError as reason:
        if reason.errno in files.FULL or str(reason.filename) == str(target):
            raise  # writing failed, not reading
        raise shards.unreadable(source, reason) from reason
    shards.check(target, named=source)
    target.chmod(shards.read_only(target))


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, each with the permissions of the one that it lies in: what those may write to
    who share a cache must not depend on the umask of the first.
    """
    if folder.is_dir():
        return
    make_folder(folder.parent)
    with files.refusal_explained(folder.parent):
        folder.mkdir(exist_ok=True)
        with suppress(PermissionError):  # another user's, who made it just now
            folder.chmod(folder.parent.stat().st_mode & 0o7777)
