"""A record of this machine: the headers of a fingerprint's shards, so that a store that grows opens those that are new.

A shard's name is the hash of its bytes, and so determines its header: one is taken from here for a file that was
compared with its name and has not changed since, as `Checksums` knows. A lost record costs another reading of headers.

Content: the length of the JSON, the JSON (the headers, without keys), the keys of all rows.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

from icebox.features import records
from icebox.features.store.checksums import record_folder
from icebox.features.store.shard_cache.item_keys import KEY_BYTES, ItemKeys
from icebox.features.store.shards import ArrayLocation, Shard

FORMAT = b"headers 1\n"  # the record's key; another in a version that writes or reads headers in another way
LENGTH_BYTES = 8


class KnownHeaders:
    """The headers of shards of one fingerprint, by the names of their files."""

    def __init__(self, store_fingerprint: str, record: str) -> None:
        self.fingerprint, self.record = store_fingerprint, record

    def __getstate__(self) -> dict[str, Any]:
        return {"fingerprint": self.fingerprint, "record": self.record}

    def get(self, path: Path) -> Shard | None:
        """The header of the shard of this name, whose bytes are known to be those of its name; None for a new one."""
        if path.name not in self._headers:
            return None
        header, start = self._headers[path.name]
        keys = self._content[start : start + header["rows"] * KEY_BYTES]
        return Shard(
            path=path,
            fingerprint=self.fingerprint,
            item_keys=ItemKeys.of_bytes(keys),
            arrays={name: ArrayLocation(kind, tuple(shape), at) for name, kind, shape, at in header["arrays"]},
            errors={row: message for row, message in header["errors"]},
            remarks={row: message for row, message in header["remarks"]},
        )

    def keep(self, shards: Iterable[Shard]) -> None:
        """Make these the record, of whole shards, unless it has no others."""
        by_name = {shard.path.name: shard for shard in shards}
        if by_name.keys() == self._headers.keys():
            return
        headers = [
            {
                "name": name,
                "rows": len(shard.item_keys),
                "arrays": [[output, *asdict(array).values()] for output, array in shard.arrays.items()],
                "errors": list(shard.errors.items()),
                "remarks": list(shard.remarks.items()),
            }
            for name, shard in by_name.items()
        ]
        text = json.dumps(headers).encode()
        keys = b"".join(shard.item_keys.digests.tobytes() for shard in by_name.values())
        records.write(self._record_path, FORMAT, len(text).to_bytes(LENGTH_BYTES, "little") + text + keys)

    @property
    def _record_path(self) -> Path:
        return record_folder("headers") / self.record

    @cached_property
    def _content(self) -> memoryview:
        """The record; empty where there is none."""
        return records.read(self._record_path, FORMAT) or memoryview(b"")

    @cached_property
    def _headers(self) -> dict[str, tuple[dict[str, Any], int]]:
        """{name: (header, where its keys begin)}."""
        if not self._content:
            return {}
        position = LENGTH_BYTES + int.from_bytes(self._content[:LENGTH_BYTES], "little")
        headers = {}
        for header in json.loads(bytes(self._content[LENGTH_BYTES:position])):
            headers[header["name"]] = header, position
            position += header["rows"] * KEY_BYTES
        return headers
