"""A network in int8, as a file keeps it: what is computed, and on which items the ranges of its numbers were measured.

The file lies in the folder of each store that it made, and its sha256 is part of the store's fingerprint: features of
two such networks never mix.
"""

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from icebox.features import files
from icebox.features.errors import IceboxError
from icebox.features.json_files import Shape, mismatch

FILE = "quantized.npz"
INT8 = "int8"  # the precision's name
RECORD: Shape = {"calibrated": int, "sample": str, "held_out": int, "mean": float, "largest": float}


@dataclass(frozen=True)
class QuantizedNetwork:
    """OpenVINO's `structure` (XML) and `weights` of a network that takes `inputs`, in this order.

    `origin` is the sha256 of all that it was made for: a backbone's spec in float32 and where its items come from.
    `record` has the number of items that it was calibrated on and the sha256 of their keys (`sample`), the number of
    those `held_out`, and how far their features are from those in float32, as a share of their norm: `mean`, `largest`.
    """

    structure: bytes
    weights: bytes
    inputs: tuple[str, ...]
    origin: str = ""
    record: Mapping[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """sha256 of what computes features."""
        parts = [sha256(part).hexdigest() for part in (self.structure, self.weights)]
        return sha256(" ".join([*parts, *self.inputs]).encode()).hexdigest()

    def write(self, path: Path) -> None:
        """Write it, whole or not at all: equal ones give equal bytes."""
        settings = {"origin": self.origin, "inputs": self.inputs, "record": dict(self.record)}
        path.parent.mkdir(parents=True, exist_ok=True)
        with files.replacing(path) as temporary, temporary.open("wb") as stream:
            np.savez(
                stream,
                allow_pickle=False,
                settings=np.array(json.dumps(settings, sort_keys=True)),
                structure=np.frombuffer(self.structure, np.uint8),
                weights=np.frombuffer(self.weights, np.uint8),
            )


def read(path: Path) -> QuantizedNetwork:
    """The network in a file. Raises IceboxError for one that is missing or damaged."""
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as arrays:
            settings = json.loads(str(arrays["settings"]))
            if problem := mismatch(settings, {"origin": str, "inputs": [str], "record": RECORD}):
                raise ValueError(problem)
            return QuantizedNetwork(
                arrays["structure"].tobytes(),
                arrays["weights"].tobytes(),
                tuple(settings["inputs"]),
                settings["origin"],
                settings["record"],
            )
    except (OSError, ValueError, LookupError, TypeError, EOFError, RecursionError, zipfile.BadZipFile) as reason:
        raise IceboxError(
            f"{path}: the int8 network of a store can't be read ({type(reason).__name__}); restore the file"
        ) from reason
