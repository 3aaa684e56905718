"""A pair of texts as heads see it: (u, v, |u − v|, u · v), after Conneau et al. 2017 (InferSent).

Letters: n pairs, d features of one text.
"""

import numpy as np

PAIR = "pair"  # the name of this view, which is never stored but made of `first` and `second`
PARTS = 4
TEXTS = FIRST, SECOND = ("first", "second")  # the views that are stored


def combine(u: np.ndarray, v: np.ndarray, into: np.ndarray) -> None:
    """Fill `into` (n, 4·d), float32, from the features (n, d) of the pairs' first and second texts."""
    d = u.shape[1]
    first, second, apart, together = (into[:, part * d : (part + 1) * d] for part in range(PARTS))
    first[:], second[:] = u, v
    np.subtract(first, second, out=apart)
    np.abs(apart, out=apart)
    np.multiply(first, second, out=together)


def combined(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """(n, d) and (n, d) → float32 (n, 4·d)."""
    into = np.empty((len(u), PARTS * u.shape[1]), np.float32)
    combine(u, v, into)
    return into
