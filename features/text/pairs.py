"""The features of a pair of texts: (u, v, |u − v|, u · v), after Conneau et al. 2017 (InferSent).

Letters: n pairs, d features of one text.
"""

import numpy as np

PAIR = "pair"  # the name of this view; it is not stored, but computed from `first` and `second`
PARTS = 4
TEXTS = FIRST, SECOND = ("first", "second")  # the views that are stored


def combine_pairs_into(u: np.ndarray, v: np.ndarray, into: np.ndarray) -> None:
    """Fill `into` (n, 4·d), float32, from the features (n, d) of the pairs' first and second texts."""
    d = u.shape[1]
    first, second, difference, product = (into[:, part * d : (part + 1) * d] for part in range(PARTS))
    first[:], second[:] = u, v
    np.subtract(first, second, out=difference)
    np.abs(difference, out=difference)
    np.multiply(first, second, out=product)


def combine_pairs(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Features (n, d) of the first texts and (n, d) of the second → float32 (n, 4·d)."""
    into = np.empty((len(u), PARTS * u.shape[1]), np.float32)
    combine_pairs_into(u, v, into)
    return into
