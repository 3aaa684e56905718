"""A record of this machine: the key of each content as it was read last, so that a manifest that is made again reads
what is new: other files, or references that no one asked for yet, of a dataset whose references determine contents.

An entry holds while the file's size, times and inode are the same; the time of the last change of the inode can't be
set back, as the file's own may. One that was written to within seconds of being read is not kept: a second write may
have had the same time. An entry that were wrong all the same would be found when the content is read.
"""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from icebox.features import files
from icebox.features.buckets.path import BucketPath
from icebox.features.manifest import tables

IDENTITY = b"icebox.identity"
STATE = ("size_bytes", "modified_ns", "changed_ns", "inode")
ABSENT = (-1,) * len(STATE)
RACY_NS = 2_000_000_000  # the coarsest time that file systems keep, two seconds


@dataclass(frozen=True)
class FileStates:
    """The states (n, 4) of n files, and by which of them they may be known again."""

    values: np.ndarray
    certain: np.ndarray  # (n,) bool

    @classmethod
    def unchanging(cls, n: int) -> "FileStates":
        """Those of n contents that no file has a part in."""
        return cls(np.zeros((n, len(STATE)), np.int64), np.ones(n, bool))

    @classmethod
    def of(cls, sources: Sequence[str], file_of: Callable[[str], Path | None]) -> "FileStates":
        """The states of the files behind sources, as they are now."""
        now = time.time_ns()
        values = np.array([state(file_of(source)) for source in sources], np.int64).reshape(-1, len(STATE))
        certain = (values[:, 0] >= 0) & (values[:, 1:3] < now - RACY_NS).all(1)
        return cls(values, certain)


def state(path: Path | None) -> tuple[int, ...]:
    """The size, times and inode of a file; ABSENT where it can't be told, as of an object in a bucket."""
    if path is None or isinstance(path, BucketPath):
        return ABSENT
    try:
        status = os.stat(path)  # noqa: PTH116  (a million of them)
    except (OSError, ValueError):
        return ABSENT
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


@dataclass(frozen=True)
class KnownContents:
    """The record in a file. `identity` is a hash of all but the files that determines a content: a source's code and
    settings. Sources are a sequence of texts, or an Arrow array of them."""

    path: Path
    identity: str

    def keys(self, sources: Any, states: FileStates) -> tuple[np.ndarray, np.ndarray]:
        """(keys (n, 32) uint8, bits (n,) int16) of the contents behind sources; bits are UNKNOWN for the others."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        keys, bits = np.zeros((len(sources), tables.KEY_BYTES), np.uint8), np.full(len(sources), UNKNOWN, np.int16)
        try:
            table = pq.ParquetFile(self.path, page_checksum_verification=True).read()
            if (table.schema.metadata or {}).get(IDENTITY) != self.identity.encode():
                return keys, bits
            names = table.column("source").combine_chunks()
            recorded = [tables.numbers(table.column(name)) for name in STATE]
            digests = tables.digest_bytes(table.column("item_key"))
            places = places_of(texts(sources), names)
            known_bits = tables.numbers(table.column("bits"))
        except (pa.ArrowException, LookupError, TypeError, ValueError, OSError):  # a lost record costs a reading
            return keys, bits
        of_source = np.flatnonzero((places >= 0) & states.certain)
        for column, state_now in zip(recorded, states.values.T, strict=True):
            of_source = of_source[column[places[of_source]] == state_now[of_source]]
        keys[of_source], bits[of_source] = digests[places[of_source]], known_bits[places[of_source]]
        return keys, bits

    def write(self, sources: Any, states: FileStates, keys: np.ndarray, bits: np.ndarray) -> None:
        """Keep what was read, as far as the files can be known again."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        kept = np.flatnonzero(states.certain & (bits != UNKNOWN))
        columns = {
            "source": texts(sources).take(tables.of_numbers(kept)),
            **{name: tables.of_numbers(states.values[kept, i]) for i, name in enumerate(STATE)},
            "item_key": tables.digests(np.ascontiguousarray(keys[kept]).tobytes()),
            "bits": tables.of_numbers(bits[kept]),
        }
        table = pa.table(columns).replace_schema_metadata({IDENTITY: self.identity})
        with files.replacing(self.path) as temporary:
            pq.write_table(
                table,
                temporary,
                compression={name: "none" if name == "item_key" else "zstd" for name in table.column_names},
                use_dictionary=["bits"],
                write_statistics=False,
                write_page_checksum=True,
            )


def texts(sources: Any) -> Any:
    """References as an Arrow array of texts."""
    import pyarrow as pa

    return sources if isinstance(sources, pa.Array) else tables.texts(sources)


def places_of(sources: Any, names: Any) -> np.ndarray:
    """The position (n,) of each source among the names, -1 for none; both are Arrow arrays of texts."""
    import pyarrow.compute as pc

    n = min(len(sources), len(names))
    if sources.slice(0, n).equals(names.slice(0, n)):  # a dataset that has grown at its end
        return np.where(np.arange(len(sources)) < n, np.arange(len(sources)), -1)
    return tables.numbers(pc.fill_null(pc.index_in(sources, value_set=names), -1)).astype(np.int64)


UNKNOWN = -3  # in the place of bits: the content is to be read
