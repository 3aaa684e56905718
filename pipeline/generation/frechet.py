"""The Fréchet distance of two sets of pictures: of Gaussians fitted to their features (Heusel et al. 2017)."""

import numpy as np


def distance(one: np.ndarray, other: np.ndarray) -> float:
    """Features (n, d) and (m, d) → |μ₁ - μ₂|² + tr(C₁ + C₂ - 2 (C₁ C₂)^½), with covariances over n and m.

    tr (C₁ C₂)^½ is taken as the sum of the roots of the eigenvalues of C₁^½ C₂ C₁^½, which is symmetric: unlike a
    general matrix root, that stays real where features are few or constant.
    """
    a, b = one.astype(np.float64), other.astype(np.float64)
    c1, c2 = (np.atleast_2d(np.cov(x, rowvar=False, bias=True)) for x in (a, b))
    values, vectors = np.linalg.eigh(c1)
    root = vectors * np.sqrt(values.clip(min=0)) @ vectors.T
    between = np.sqrt(np.linalg.eigvalsh(root @ c2 @ root).clip(min=0)).sum()
    apart = ((a.mean(0) - b.mean(0)) ** 2).sum()
    return float(max(0.0, apart + np.trace(c1) + np.trace(c2) - 2 * between))
