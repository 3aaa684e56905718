"""Metrics of generated images: the Fréchet distance to real ones, and the nearest training image of each."""

from collections.abc import Sequence

import numpy as np

REFERENCES_AT_ONCE = 4096  # limits the matrix of differences to (n, 4096)


def frechet_distance(one: np.ndarray, other: np.ndarray) -> float:
    """The Fréchet distance of Gaussians fitted to two sets of features (Heusel et al. 2017).

    Features (n, d) and (m, d) → |μ₁ - μ₂|² + tr(C₁ + C₂ - 2 (C₁ C₂)^½), with covariances over n and m.
    tr (C₁ C₂)^½ is taken as the sum of the roots of the eigenvalues of C₁^½ C₂ C₁^½, which is symmetric: unlike a
    general matrix root, that stays real where features are few or constant.
    """
    a, b = one.astype(np.float64), other.astype(np.float64)
    c1, c2 = (np.atleast_2d(np.cov(x, rowvar=False, bias=True)) for x in (a, b))
    values, vectors = np.linalg.eigh(c1)
    root = vectors * np.sqrt(values.clip(min=0)) @ vectors.T
    trace_of_root = np.sqrt(np.linalg.eigvalsh(root @ c2 @ root).clip(min=0)).sum()
    mean_distance = ((a.mean(0) - b.mean(0)) ** 2).sum()
    return float(max(0.0, mean_distance + np.trace(c1) + np.trace(c2) - 2 * trace_of_root))


def nearest_images(images: Sequence[np.ndarray], references: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The nearest of m references to each of n images, all of one size → positions (n,) and distances (n,).

    A distance near 0 says that an image was copied. It is the root mean squared difference of the pixels, in grey
    levels.
    """
    a = np.stack(images).reshape(len(images), -1).astype(np.float64)
    smallest, positions = np.full(len(images), np.inf), np.zeros(len(images), np.int64)
    for start in range(0, len(references), REFERENCES_AT_ONCE):
        b = np.stack(references[start : start + REFERENCES_AT_ONCE])
        b = b.reshape(len(b), -1).astype(np.float64)
        squares = (a**2).sum(1)[:, None] - 2 * a @ b.T + (b**2).sum(1)  # (n, m)
        closer = squares.min(1) < smallest
        positions[closer] = start + squares.argmin(1)[closer]
        smallest = np.minimum(smallest, squares.min(1))
    return positions, np.sqrt(smallest.clip(min=0) / a.shape[1])
