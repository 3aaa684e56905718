"""The canary: before stored rows are used again, a few are computed anew and compared.

A changed library, weights file or line of code that the fingerprint missed becomes an error instead of a store
that mixes two kinds of features.
"""

import math
from collections.abc import Sequence

import numpy as np

from icebox.features.abc.backbone import Backbone
from icebox.features.errors import IceboxError, ItemError
from icebox.features.extraction import views
from icebox.features.extraction.precision import TOLERANCE
from icebox.features.extraction.views import ViewItem
from icebox.features.manifest.reading import Read
from icebox.features.store.cache import RowLocation

ROWS = 4


def check(stored: Sequence[tuple[ViewItem, RowLocation]], read: Read, backbone: Backbone) -> None:
    """Recompute up to ROWS of the rows that are about to be used again. Raises IceboxError where one differs."""
    # the smallest content hashes are a sample that is random yet the same on every machine
    for unit, place in sorted(stored, key=lambda pair: pair[0].key)[:ROWS]:
        if place.row in place.shard.errors:
            continue
        try:
            anew = backbone.encode([views.prepare(backbone, read(unit.row.source), unit.view)])
        except (ItemError, OSError) as reason:
            raise IceboxError(f"item '{unit.row.item_id}': was read before and can't be read now: {reason}") from reason
        for output, values in anew.items():
            before = place.shard.row(output, place.row).astype(np.float64)
            same_shape = before.shape == values[0].shape  # texts may be cut into other tokens
            norm = max(float(np.linalg.norm(before)), 1e-12)
            difference = float(np.linalg.norm(values[0] - before)) / norm if same_shape else math.inf
            if difference > TOLERANCE[backbone.spec["precision"]]:
                raise IceboxError(
                    f"{place.shard.path.parent}: the stored features of item '{unit.row.item_id}' differ by "
                    f"{difference:.1e} of their norm from the same computed now; a library or code changed under "
                    f"backbone family '{backbone.spec['family']}': raise VERSION in its file, or delete that folder"
                )
