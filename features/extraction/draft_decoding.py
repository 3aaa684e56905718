"""What `decode: draft` costs: how far features move when large JPEGs are decoded at a fraction of their size."""

from collections.abc import Sequence

import numpy as np

from icebox.features.abc.backbone import Backbone
from icebox.features.abc.dataset import Content
from icebox.features.errors import ItemError
from icebox.features.ragged import flat

ITEMS = 8  # tried


def moved(draft: Backbone, exact: Backbone, contents: Sequence[Content]) -> float:
    """The distance between an item's features of the two, as a share of the exact ones' norm: mean over items and
    outputs, NaN where none of the contents can be read."""
    shares: list[float] = []
    for content in contents:
        try:
            one, other = (network.encode([network.prepare(content)]) for network in (draft, exact))
        except ItemError:  # extraction has named it
            continue
        for output in exact.outputs:
            moved_to, was = flat(one[output]), flat(other[output])
            shares.append(float(np.linalg.norm(moved_to - was)) / (float(np.linalg.norm(was)) or 1.0))
    return float(np.mean(shares)) if shares else float("nan")
