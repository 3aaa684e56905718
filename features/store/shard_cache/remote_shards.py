"""The shards of one fingerprint in a bucket, `<url>/<fingerprint>/`, which machines share.

A shard is put once, whole, under its own name, which is its hash; one page of a listing finds a thousand. Which rows
one holds is read from its `item_key`, by a range of bytes; what is needed of it is then fetched whole, and compared
with its name before use. Nothing here is written over or, but for pruning, removed: where an object is damaged, its
rows are extracted anew, and a whole one is put beside it, into `repaired/`.
"""

import io
import logging
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

import h5py

from icebox.features.buckets import bucket
from icebox.features.buckets.bucket import Entry
from icebox.features.buckets.local_cache import LEASED, local_cache
from icebox.features.buckets.path import BucketPath
from icebox.features.errors import IceboxError
from icebox.features.store import hdf5, shards
from icebox.features.store.shard_cache.item_keys import KEY_BYTES
from icebox.features.store.shards import DamagedShard

logger = logging.getLogger("icebox")

REPAIRED = "repaired"
THREADS = 8  # a request mostly waits for its answer
BLOCK_BYTES = 64 << 10  # of a header: 1024 keys, and what HDF5 needs to find them
BLOCKS_MAX = 16  # beyond which a shard is rather fetched whole
BATCH = 256  # shards whose keys are in memory at once
ATTEMPTS = 2  # to read a shard whose bytes are not its name's


class RemoteShards:
    """A folder of shards in a bucket."""

    def __init__(self, root: BucketPath, fingerprint: str) -> None:
        self.url = f"{root}/{fingerprint}"
        self.fingerprint = fingerprint
        self._damaged: set[str] = set()  # names of which no whole object was found
        self._listed: dict[str, list[Entry]] | None = None

    def __getstate__(self) -> dict[str, object]:
        return vars(self) | {"_listed": None}

    def listed(self, *, anew: bool = False) -> dict[str, list[Entry]]:
        """{name: objects of this name} of shards and marks, as it was when first asked for unless `anew`."""
        if self._listed is None or anew:
            listed: dict[str, list[Entry]] = {}
            for entry in sorted(bucket.list_objects(self.url), key=lambda each: (each.url.count("/"), each.url)):
                listed.setdefault(entry.url.rpartition("/")[2], []).append(entry)
            self._listed = listed
        return self._listed

    def names(self) -> list[str]:
        """The names of the shards, in order."""
        return sorted(name for name in self.listed() if shards.is_name(name))

    def has_any(self) -> bool:
        """Whether there is a shard, asked for with one page of a listing."""
        return any(shards.is_name(entry.url.rpartition("/")[2]) for entry in bucket.list_objects(self.url))

    def fetched(self, wanted: Container[str] | None, *, located: Container[str], but: Iterable[str]) -> Iterator[Path]:
        """Copies on this machine of the shards with wanted rows that are not located yet, `but` those of these names.

        They stay while this process lives. A damaged one is named and passed over: others may have its rows.
        """
        local_cache().lease()
        self.listed(anew=True)
        done, covered, complete = set(but), set[str](), False
        with ThreadPoolExecutor(THREADS) as pool:
            while not complete:
                needed = self._needed(pool, wanted, located, covered, done)
                complete = True
                for (name, keys), path in zip(needed.items(), pool.map(self._fetch, needed), strict=True):
                    done.add(name)
                    if path is None:
                        complete = False
                    else:
                        covered |= keys
                        yield path

    def _needed(
        self,
        pool: Executor,
        wanted: Container[str] | None,
        located: Container[str],
        covered: set[str],
        done: Container[str],
    ) -> dict[str, set[str]]:
        """{name: its wanted keys that no shard before it has}, of those that have some, or whose keys can't be read."""
        taken = set(covered)
        needed: dict[str, set[str]] = {}
        names = [name for name in self.names() if name not in done]
        for start in range(0, len(names), BATCH):
            batch = names[start : start + BATCH]
            for name, keys in zip(batch, pool.map(self._keys, batch), strict=True):
                new = {key for key in keys or () if (wanted is None or key in wanted) and key not in located} - taken
                if new or keys is None:
                    taken |= new
                    needed[name] = new
        return needed

    def _keys(self, name: str) -> list[str] | None:
        """The keys of a shard's rows; None where only the whole of it may tell."""
        entry = self.listed()[name][-1]
        copy = f"keys/{self.fingerprint}/{name}-{entry.size_bytes}-{entry.version}"
        try:
            text = local_cache().read(copy.replace(":", ""), None, lambda: item_keys(entry)).hex()
        except IceboxError:
            raise
        except FileNotFoundError:  # somebody has removed it
            return []
        except hdf5.BROKEN:
            return None
        return [text[i : i + 2 * KEY_BYTES] for i in range(0, len(text), 2 * KEY_BYTES)]

    def _fetch(self, name: str) -> Path | None:
        """A copy of a shard, compared with its name; None where no object of this name is whole."""
        for entry in self.listed()[name]:
            try:
                return local_cache().file(f"{LEASED}/{self.fingerprint}/{name}", None, lambda to: fetch(entry, to))  # noqa: B023
            except DamagedShard as damage:
                logger.warning("%s; it stays, and its rows will be extracted again", damage)
            except FileNotFoundError:
                logger.warning("%s: was here a moment ago; its rows will be extracted again", entry.url)
        self._damaged.add(name)
        return None

    def put(self, path: Path) -> None:
        """Put a shard of this machine under its name, or beside a damaged one of its name, unless it is there.

        Raises IceboxError where that fails, and DamagedShard for a file that is not what its name says.
        """
        content = path.read_bytes()
        if shards.name_of_bytes(content) != path.name:
            raise DamagedShard(f"{path}: its bytes have changed; it is not put into {self.url}")
        if path.name not in self._damaged:
            entry = bucket.put_if_absent(f"{self.url}/{path.name}", content)
            if entry.size_bytes == len(content):
                return
            logger.warning("%s: expected %d bytes, found %d; it stays, and a whole one is put beside it",
                           entry.url, len(content), entry.size_bytes)  # fmt: skip
        entry = bucket.put_if_absent(f"{self.url}/{REPAIRED}/{path.name}", content)
        if entry.size_bytes != len(content):
            logger.warning("%s: is damaged, too; %s stays on this machine alone", entry.url, path.name)

    def put_missing(self, paths: Sequence[Path]) -> None:
        """Put those of this machine's shards that the bucket lacks, by a new listing. Raises IceboxError as `put`."""
        listed = self.listed(anew=True)

        def is_there(path: Path) -> bool:
            size_bytes = path.stat().st_size
            put_after = [e for e in listed.get(path.name, ()) if path.name not in self._damaged or is_repaired(e)]
            return any(entry.size_bytes == size_bytes for entry in put_after)

        missing = [path for path in paths if not is_there(path)]
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(self.put, missing))

    def put_mark(self, name: str) -> None:
        """Put an empty object, for all who share the folder."""
        bucket.put_if_absent(f"{self.url}/{name}", b"")


def is_repaired(entry: Entry) -> bool:
    """Whether an object was put beside a damaged one."""
    return entry.url.split("/")[-2] == REPAIRED


def fetch(entry: Entry, target: Path) -> None:
    """Write a shard to a file. Raises DamagedShard where its bytes, read twice, are not those of its name."""
    name = entry.url.rpartition("/")[2]
    for _ in range(ATTEMPTS):
        bucket.download(entry, target)
        if shards.name_of(target) == name:
            target.chmod(shards.read_only(target))
            return
    raise DamagedShard(f"{entry.url}: its bytes are not those of its name, but of {shards.name_of(target)}")


def item_keys(entry: Entry) -> bytes:
    """The keys of a shard's rows (n × 32 bytes), by ranges of bytes. Raises one of hdf5.BROKEN where it is damaged.

    No request is made within h5py: it holds a lock then, for which the thread that does the requests may have to wait.
    """
    blocks: dict[int, bytes] = {}
    missing = {0}
    while missing and len(blocks) < BLOCKS_MAX:
        blocks |= {each: bucket.read_range(entry, each * BLOCK_BYTES, (each + 1) * BLOCK_BYTES) for each in missing}
        stream = PartialFile(entry.size_bytes, blocks)
        content, damage = b"", None
        try:
            with h5py.File(stream, "r") as file:
                content = file["item_key"][:].tobytes()
        except hdf5.BROKEN as reason:
            damage = reason
        missing = stream.missing
    if missing or damage or not content or len(content) % KEY_BYTES:
        raise ValueError("no keys where a shard has them") from damage
    return content


class PartialFile(io.RawIOBase):
    """An object as a file, of which some blocks are here; others read as zeros, and are `missing` then."""

    def __init__(self, size_bytes: int, blocks: Mapping[int, bytes]) -> None:
        self.size_bytes, self.blocks = size_bytes, blocks
        self.missing: set[int] = set()
        self._position = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """The position."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a position."""
        self._position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position}.get(whence, self.size_bytes)
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill a buffer as far as the object goes."""
        view = memoryview(buffer).cast("B")
        count = max(0, min(len(view), self.size_bytes - self._position))
        stop = self._position + count
        filled = 0
        while self._position < stop:
            number, within = divmod(self._position, BLOCK_BYTES)
            length = min(BLOCK_BYTES - within, stop - self._position)
            if number not in self.blocks:
                self.missing.add(number)
            view[filled : filled + length] = self.blocks.get(number, bytes(BLOCK_BYTES))[within : within + length]
            filled += length
            self._position += length
        return count
