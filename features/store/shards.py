"""A shard: an immutable HDF5 file of rows, named by its own sha256.

Layout: `item_key` (n, 32) uint8, the sha256 of each row's content; `features/<output>` (n, …), contiguous and
uncompressed so that rows can be read through a memory map; of tokens' vectors `features/<output>` (Σt, d) holds one
row's after the other, and `offsets/<output>` (n + 1,) says where each begins; `error` (n,) text where some contents
could not be read (their features are zeros); `remark` (n,) text where a decoder complained of some that were taken all
the same. Attribute `fingerprint`. No clock, host or path inside: equal rows give equal bytes.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from icebox.features import files, fingerprint
from icebox.features.errors import IceboxError, cause
from icebox.features.ragged import OFFSETS, Ragged, Values, flat
from icebox.features.store import hdf5
from icebox.features.store.shard_cache.item_keys import KEY_BYTES, ItemKeys

SHARD_ROWS = 1024  # at most: a kill loses one shard's work
SHARD_BYTES = 32 << 20
NAME_DIGITS = 32  # 128 bits of the file's sha256: enough to tell any damage, short enough to read


class DamagedShard(IceboxError):
    """A shard that was read whole, and whose bytes are not those of its name."""


class ForbiddenShard(IceboxError):
    """Another user's shard, which this one may not read."""


@dataclass(frozen=True)
class ArrayLocation:
    """The dtype, shape and position of one array in a shard's file, for a memory map."""

    dtype: str
    shape: tuple[int, ...]
    offset_bytes: int

    def map(self, path: Path) -> np.ndarray:
        """The array, read from disk only where it is accessed."""
        if 0 in self.shape:
            return np.empty(self.shape, self.dtype)
        return np.memmap(path, dtype=self.dtype, mode="r", offset=self.offset_bytes, shape=self.shape)


@dataclass(frozen=True)
class Shard:
    """The header of a shard: the sha256 of each row's content, the arrays' locations, the error of each failed row and
    the remark on each odd one.

    `arrays` are named by their outputs, and `offsets/<output>`.
    """

    path: Path
    fingerprint: str
    item_keys: ItemKeys
    arrays: dict[str, ArrayLocation]
    errors: dict[int, str]
    remarks: dict[int, str]

    def row(self, output: str, row: int) -> np.ndarray:
        """One row of an output, in its own shape. Raises IceboxError where the file can't be read any more."""
        try:
            array = self.arrays[output].map(self.path)
            if OFFSETS + output not in self.arrays:
                values: np.ndarray = array[row]
                return values
            start, stop = self.arrays[OFFSETS + output].map(self.path)[row : row + 2]
        except (OSError, ValueError) as reason:
            raise unreadable(self.path, reason) from reason
        return array[start:stop]


def write(
    folder: Path,
    *,
    store_fingerprint: str,
    item_keys: Sequence[str],
    features: Mapping[str, Values],
    errors: Mapping[int, str],
    remarks: Mapping[int, str] | None = None,
) -> Path:
    """Write rows as a read-only shard into `folder`, atomically, and return the file's path.

    `features` are the rows of each output, `errors` and `remarks` the messages of the rows that have one.
    """
    with files.temporary_in(folder) as temporary:
        with hdf5.created(temporary) as file:
            file.attrs["fingerprint"] = store_fingerprint
            keys = np.frombuffer(bytes.fromhex("".join(item_keys)), np.uint8)
            file["item_key"] = keys.reshape(len(item_keys), KEY_BYTES)
            group = file.create_group("features")  # stays empty where no content of the shard could be read
            for output, values in features.items():
                group[output] = np.ascontiguousarray(flat(values))
                if isinstance(values, Ragged):
                    file[OFFSETS + output] = values.offsets
            for name, messages in (("error", errors), ("remark", remarks)):
                if messages:
                    file[name] = np.array([messages.get(row, "").encode() for row in range(len(item_keys))], "S")
        temporary.chmod(read_only(temporary))
        path = free_place(folder, name_of(temporary))
        files.publish(temporary, path)
    return path


def read_only(path: Path) -> int:
    """A file's permissions without those to write, which the umask has chosen."""
    return path.stat().st_mode & 0o444


def free_place(folder: Path, name: str) -> Path:
    """The path for a shard in `folder`: in a folder of this user's own there where the name is taken by one of another
    user's, who keeps it.
    """
    path = folder / name
    try:
        path.open("rb").close()
        return path
    except FileNotFoundError:
        return path
    except PermissionError:
        pass
    except OSError as reason:
        raise unreadable(path, reason) from reason
    own = folder / f"user-{os.getuid()}"
    own.mkdir(exist_ok=True)
    return own / name


def name_of(path: Path) -> str:
    """The name of a shard with this file's bytes."""
    return f"shard-{fingerprint.of_file(path)[:NAME_DIGITS]}.h5"


def name_of_bytes(content: bytes) -> str:
    """The name of a shard of these bytes."""
    return f"shard-{hashlib.sha256(content).hexdigest()[:NAME_DIGITS]}.h5"


def is_name(name: str) -> bool:
    """Whether a file's name is that of a shard."""
    return name.startswith("shard-") and name.endswith(".h5")


def check(path: Path, *, named: Path | None = None) -> None:
    """Raise DamagedShard where a shard's bytes, all of which could be read, are not those of its name.

    `named` is the shard of which `path` is a copy.
    """
    expected = (named or path).name
    try:
        name = name_of(path)
    except (OSError, MemoryError) as reason:
        raise unreadable(path, reason) from reason
    if name != expected:
        raise DamagedShard(
            f"{named or path}: its bytes have changed: they are those of {name}",
            hint="repair the store",
            store=path.parent.name,
        )


def is_damaged(path: Path) -> bool:
    """Whether a shard is provably not what was written. Raises IceboxError where it can't be read now."""
    try:
        check(path)
    except DamagedShard:
        return True
    return False


def unreadable(path: Path, reason: BaseException) -> IceboxError:
    """The error for a shard that can't be read now, and may well be whole."""
    if isinstance(reason, FileNotFoundError):
        return IceboxError(
            f"{path}: was here a moment ago, and now {cause(reason)}; run this again, or open the store anew"
        )
    try:
        foreign = isinstance(reason, PermissionError) and path.stat().st_uid != os.geteuid()
    except OSError:
        foreign = False
    if foreign:
        return ForbiddenShard(f"{path}: {cause(reason)}; it is another user's, who can make it readable for you")
    return files.unreadable(path, reason)


def set_aside(path: Path, folder: Path | None = None) -> Path:
    """Rename a damaged shard to NAME.damaged, in its own folder or, of a store, in its shard cache's → its path now.

    It stays where that is refused.
    """
    folder = folder or path.parent
    number, target = 1, folder / f"{path.name}.damaged"
    with suppress(OSError):
        while target.exists():
            if target.samefile(path):  # the same file under its name in a store and in the cache
                path.unlink()
                return target
            number += 1
            target = folder / f"{path.name}.damaged-{number}"
        path.rename(target)
        return target
    return path


def paths(folder: Path) -> list[Path]:
    """The shards in a folder, by name. Raises IceboxError where the folder can't be listed, which `glob` hides."""
    try:
        names = sorted(path.name for path in folder.iterdir())
    except FileNotFoundError:
        return []
    except OSError as reason:
        raise files.unreadable(folder, reason) from reason
    return [folder / name for name in names if is_name(name)]


def read(path: Path) -> Shard:
    """Read a shard's header. Raises DamagedShard where it is provably not what was written, or IceboxError where the
    file can't be read now.
    """
    try:
        with h5py.File(path) as file:
            datasets = dict(file["features"].items())
            datasets |= {OFFSETS + name: dataset for name, dataset in file.get(OFFSETS, {}).items()}
            arrays = {
                name: ArrayLocation(dataset.dtype.str, dataset.shape, dataset.id.get_offset() or 0)
                for name, dataset in datasets.items()
            }
            errors, remarks = (file[name].asstr()[:] if name in file else [] for name in ("error", "remark"))
            return Shard(
                path=path,
                fingerprint=str(file.attrs["fingerprint"]),
                item_keys=ItemKeys.of_bytes(file["item_key"][:].tobytes()),
                arrays=arrays,
                errors={row: message for row, message in enumerate(errors) if message},
                remarks={row: message for row, message in enumerate(remarks) if message},
            )
    except hdf5.BROKEN as reason:
        check(path)  # what can't be read is damaged only if its bytes are not those of its name
        raise unreadable(path, reason) from reason
