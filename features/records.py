"""Records of this machine: files that spare work, and whose loss or damage costs no more than that work.

A record begins with a sha256 of its key and of the rest, so that one that is torn, damaged, or another's is none.
"""

import hashlib
from contextlib import suppress
from pathlib import Path

from icebox.features import files
from icebox.features.errors import IceboxError

DIGEST_BYTES = 32


def read(path: Path, key: bytes) -> memoryview | None:
    """The content of the record at `path`; None where it is not what was written with this key."""
    try:
        record = memoryview(path.read_bytes())
    except OSError:
        return None
    content = record[DIGEST_BYTES:]
    return content if record[:DIGEST_BYTES] == digest(key, content) else None


def write(path: Path, key: bytes, content: bytes | memoryview) -> None:
    """Write a record; on a full disk none, so that the work is done another time too."""
    with suppress(IceboxError), files.temporary_in(path.parent) as temporary:
        with temporary.open("wb") as file:
            file.write(digest(key, content))
            file.write(content)
        temporary.replace(path)  # not flushed: one that is torn is no record


def digest(key: bytes, content: bytes | memoryview) -> bytes:
    """The sha256 of a record's key and content."""
    hashed = hashlib.sha256(key)
    hashed.update(content)
    return hashed.digest()
