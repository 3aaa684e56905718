"""The covariance of features and its eigenvectors: computed once, shared by every strength of a penalty.

Letters: n items, d features, r directions in which the features vary.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import linalg

BLOCK_ROWS = 2048  # a block of 512 float32 features is 4 MB: read once from memory, used twice from the cache


@dataclass(frozen=True)
class Eigendecomposition:
    """`mean` (d,), `variances` (r,) along the orthonormal `directions` (d, r); all float64."""

    mean: np.ndarray
    variances: np.ndarray
    directions: np.ndarray


def row_blocks(n: int) -> Iterator[slice]:
    """Slices that cover n rows."""
    return (slice(start, min(start + BLOCK_ROWS, n)) for start in range(0, n, BLOCK_ROWS))


def eigendecompose(X: np.ndarray, weights: np.ndarray) -> Eigendecomposition:
    """Decompose the covariance of features (n, d) with weights (n,) that are not all 0. r = min(n, d) at most.

    Copies one block of rows at a time, or all of X where n < d.
    """
    total = weights.sum(dtype=np.float64)
    mean = sum(weights[rows] @ X[rows] for rows in row_blocks(len(X))) / total
    roots = np.sqrt(weights / total).astype(X.dtype)[:, None]
    if len(X) < X.shape[1]:
        X = np.asarray(X)
        centered = (X - mean.astype(X.dtype)) * roots
        variances, left = linalg.eigh((centered @ centered.T).astype(np.float64))
        kept = variances > variances[-1] * len(X) * np.finfo(X.dtype).eps
        variances = variances[kept]
        directions, _ = linalg.qr(centered.T.astype(np.float64) @ left[:, kept], mode="economic")
        return Eigendecomposition(mean, variances, directions)
    covariance = np.zeros((X.shape[1], X.shape[1]))
    for rows in row_blocks(len(X)):
        centered = (X[rows] - mean.astype(X.dtype)) * roots[rows]
        covariance += centered.T @ centered
    variances, directions = linalg.eigh(covariance)
    return Eigendecomposition(mean, np.maximum(variances, 0), directions)
