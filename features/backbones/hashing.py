"""hashing: words and word pairs hashed into a fixed number of buckets, the floor for text; nothing is learned.

Weinberger et al. 2009, "Feature Hashing for Large Scale Multitask Learning": the sign, also from the hash, lets
collisions cancel out instead of piling up.
"""

import hashlib
import math
import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge

from icebox.features.abc.backbone import Backbone, read_settings, write_settings
from icebox.features.abc.dataset import Content, Pair
from icebox.features.errors import IceboxError, ItemError, suggestion
from icebox.features.json_files import POSITIVE

VERSION = 1
DEFAULT_OUTPUTS: tuple[str, ...] = ("last",)
FLOOR = True  # no network: the score that a network has to beat
WORD = re.compile(r"\w+")


def fetch(folder: Path, *, dimensions: Annotated[int, Ge(1)] = 4096) -> None:
    """Keep the settings; there are no weights. `dimensions`: the number of buckets, d."""
    write_settings(folder, {"family": "hashing", "dimensions": dimensions})


def load(folder: Path, *, outputs: Sequence[str], device: str, precision: str = "float32") -> Backbone:
    """The only output is `last`; `device` and `precision` make no difference."""
    for name in outputs:
        if name not in DEFAULT_OUTPUTS:
            raise IceboxError(f"outputs: hashing has no '{name}'; {suggestion(name, list(DEFAULT_OUTPUTS))}")
    return HashingBackbone(read_settings(folder, dimensions=POSITIVE)["dimensions"])


class HashingBackbone(Backbone):
    """Text → unit vector of signed, log-scaled counts of its words and pairs of adjacent words."""

    modality = "text"
    takes_pairs = True
    outputs = DEFAULT_OUTPUTS

    def __init__(self, dimensions: int) -> None:
        self.dimensions = dimensions

    @property
    def spec(self) -> dict[str, Any]:
        """The number of buckets; all else is in this file and so in VERSION."""
        return {
            "family": "hashing",
            "version": VERSION,
            "dimensions": self.dimensions,
            "outputs": list(self.outputs),
            "precision": "float32",
        }

    def prepare(self, content: Content) -> dict[str, int]:
        """Text → counts of its words and pairs of adjacent words, in lower case.

        In a Pair, one word counts as two different words on the two sides.
        """
        if isinstance(content, Pair):
            sides = {"first": content.first, "second": content.second}
            return Counter({f"{side}: {gram}": n for side in sides for gram, n in count_ngrams(sides[side]).items()})
        if not isinstance(content, str):
            raise ItemError(f"hashing: expected a text or a pair, found {type(content).__name__}")
        return count_ngrams(content)

    def encode(self, prepared: Sequence[dict[str, int]]) -> dict[str, np.ndarray]:
        """b counters → {"last": (b, d)}, rows of norm 1, or 0 where a text has no word."""
        rows = np.zeros((len(prepared), self.dimensions))
        for row, counts in zip(rows, prepared, strict=True):
            for gram, count in counts.items():
                bucket, sign = bucket_and_sign(gram, self.dimensions)
                row[bucket] += sign * (1 + math.log(count))
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        return {"last": (rows / np.where(lengths == 0, 1, lengths)).astype(np.float32)}


def count_ngrams(text: str) -> Counter[str]:
    """Counts of the words and of the pairs of adjacent words."""
    words = WORD.findall(text.lower())
    return Counter([*words, *(f"{left} {right}" for left, right in pairwise(words))])


def bucket_and_sign(gram: str, dimensions: int) -> tuple[int, int]:
    """The bucket and the sign (1 or -1) of a word or pair, the same on every machine."""
    number = int.from_bytes(hashlib.blake2b(gram.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
    return (number >> 1) % dimensions, 1 if number & 1 else -1
