"""sha256 of contents, files and settings: the identities under which rows are cached."""

import hashlib
import json
import math
from pathlib import Path

import numpy as np

from icebox.features.abc.dataset import Content, Pair
from icebox.features.errors import IceboxError

CHUNK_BYTES = 1 << 20


def of_settings(settings: object) -> str:
    """sha256 (hex) of a JSON-able value, the same for equal values whatever the order of their keys.

    Raises IceboxError for values without a stable text (a function, an object, NaN): an identity must not be a guess.
    """
    return hashlib.sha256(canonical_json(settings).encode()).hexdigest()


def canonical_json(value: object) -> str:
    """JSON with sorted keys and no spaces. Raises IceboxError for values that JSON can't hold exactly."""
    refuse_unstable(value, "settings")
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def refuse_unstable(value: object, where: str) -> None:
    """Raise IceboxError unless `value` is None, bool, int, finite float, str, or a list, tuple or dict of these."""
    match value:
        case None | bool() | int() | str():
            return
        case float() if math.isfinite(value):
            return
        case list() | tuple():
            for position, element in enumerate(value):
                refuse_unstable(element, f"{where}[{position}]")
        case dict() if all(isinstance(key, str) for key in value):
            for key, element in value.items():
                refuse_unstable(element, f"{where}.{key}")
        case _:
            raise IceboxError(f"{where}: expected plain JSON to take a fingerprint of, found {value!r}")


def of_content(content: Content) -> str:
    """sha256 (hex) of one item's content: a file's bytes, a text, a pair of texts, or an array with dtype and shape."""
    digest = hashlib.sha256()
    if isinstance(content, bytes):
        digest.update(content)
    elif isinstance(content, str):
        digest.update(content.encode("utf-8", "surrogatepass"))
    elif isinstance(content, Pair):  # of fixed length each, so that no other pair runs together to the same bytes
        digest.update(f"pair{of_content(content.first)}{of_content(content.second)}".encode())
    else:
        digest.update(f"{content.dtype.str}{content.shape}".encode())
        digest.update(np.ascontiguousarray(content).tobytes())
    return digest.hexdigest()


def of_file(path: Path) -> str:
    """sha256 (hex) of a file's bytes, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while piece := stream.read(CHUNK_BYTES):
            digest.update(piece)
    return digest.hexdigest()
