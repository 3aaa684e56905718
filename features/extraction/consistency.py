"""Distances between two computations of the same feature, and the checks that use them.

Letters: n items, t tokens, d features.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from icebox.features.abc.backbone import Backbone
from icebox.features.abc.dataset import Content
from icebox.features.errors import IceboxError, ItemError
from icebox.features.extraction import views
from icebox.features.extraction.views import ViewItem
from icebox.features.manifest.reading import Read
from icebox.features.ragged import Values, flat

if TYPE_CHECKING:
    from icebox.features.store.shard_cache.places import RowLocation

# How far a feature may move, as a share of its norm, when batch-mates or threads change: of float32 mostly the
# rounding to float16 when it is stored; bfloat16 has 8 bits, float16 11. Processors multiply int8 in two ways.
TOLERANCE = {"float32": 2e-3, "float16": 1e-2, "bfloat16": 3e-2, "int8": 1e-1}
NORM_MIN = 1e-12  # of a feature that counts as other than zero

CHECKED_ROWS = 4
DRAFT_ITEMS = 8


def relative_distance(values: np.ndarray, reference: np.ndarray, *, zero_norm: float) -> float:
    """‖values − reference‖ / ‖reference‖ of two arrays; infinite where their shapes differ.

    `zero_norm` is the denominator for a reference of zeros.
    """
    if values.shape != reference.shape:
        return math.inf
    norm = float(np.linalg.norm(reference))
    return float(np.linalg.norm(values - reference)) / (norm if norm > NORM_MIN else zero_norm)


def row_cosines(values: Values, reference: Values) -> np.ndarray:
    """The cosine (n,) between rows (n, …); 1 where both are zeros, and 0 where a value is not finite.

    Compares number formats. A cosine and no distance, since a row that is only longer or shorter in bfloat16 means the
    same to a head; and projects have recorded choices that it decided.
    """
    a, b = (array.reshape(len(array), -1).astype(np.float64) for array in (flat(values), flat(reference)))
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    equal = (a == b).all(axis=1)
    cosines = np.where(equal, 1.0, (a * b).sum(axis=1) / np.where(norms == 0, 1, norms))
    return np.nan_to_num(cosines, nan=0.0)


def check_stored_features(stored: Sequence[tuple[ViewItem, "RowLocation"]], read: Read, backbone: Backbone) -> None:
    """Recompute up to CHECKED_ROWS of the stored rows that are about to be used again, and compare.

    A changed library, weights file or line of code that the fingerprint missed becomes an IceboxError instead of a
    store that mixes two kinds of features.
    """
    # the smallest content hashes are a sample that is random yet the same on every machine
    for item, location in sorted(stored, key=lambda pair: pair[0].key)[:CHECKED_ROWS]:
        if location.row in location.shard.errors:
            continue
        try:
            recomputed = backbone.encode([views.prepare(backbone, read(item.row.source), item.view)])
        except (ItemError, OSError) as reason:
            raise IceboxError(f"item '{item.row.item_id}': was read before and can't be read now: {reason}") from reason
        for output, values in recomputed.items():
            before = location.shard.row(output, location.row).astype(np.float64)
            # shapes differ where a text is cut into other tokens now
            distance = relative_distance(values[0], before, zero_norm=NORM_MIN)
            if distance > TOLERANCE[backbone.spec["precision"]]:
                raise IceboxError(
                    f"{location.shard.path.parent}: the stored features of item '{item.row.item_id}' differ by "
                    f"{distance:.1e} of their norm from the same computed now; a library or code changed under "
                    f"backbone family '{backbone.spec['family']}': raise VERSION in its file, or delete that folder"
                )


def draft_distance(draft: Backbone, exact: Backbone, contents: Sequence[Content]) -> float:
    """The mean relative distance, over items and outputs, of features with `decode: draft` to those decoded exactly.

    A draft decodes large JPEGs at a fraction of their size. NaN where none of the contents can be read.
    """
    distances: list[float] = []
    for content in contents:
        try:
            drafted, decoded = (backbone.encode([backbone.prepare(content)]) for backbone in (draft, exact))
        except ItemError:  # extraction has named it
            continue
        for output in exact.outputs:
            distances.append(relative_distance(flat(drafted[output]), flat(decoded[output]), zero_norm=1.0))
    return float(np.mean(distances)) if distances else float("nan")
