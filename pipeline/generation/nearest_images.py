"""Which picture of a set is nearest to a new one: whether it was made up, or copied."""

from collections.abc import Sequence

import numpy as np

AT_ONCE = 4096  # pictures of the set


def nearest(made: Sequence[np.ndarray], known: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Pictures of one size, n made and m known → position (n,) of each one's nearest, and how far that is (n,).

    The distance is the root of the mean squared difference of the pixels, in grey levels.
    """
    a = np.stack(made).reshape(len(made), -1).astype(np.float64)
    best, place = np.full(len(made), np.inf), np.zeros(len(made), np.int64)
    for start in range(0, len(known), AT_ONCE):
        b = np.stack(known[start : start + AT_ONCE])
        b = b.reshape(len(b), -1).astype(np.float64)
        squares = (a**2).sum(1)[:, None] - 2 * a @ b.T + (b**2).sum(1)  # (n, m)
        closer = squares.min(1) < best
        place[closer] = start + squares.argmin(1)[closer]
        best = np.minimum(best, squares.min(1))
    return place, np.sqrt(best.clip(min=0) / a.shape[1])
