"""Naive Bayes with a Gaussian a feature and class. Features that hang together make it too sure: `pca` undoes that."""

from typing import Literal

from sklearn.naive_bayes import GaussianNB

from icebox.pipeline.estimators.preprocessing import Preprocessed


def build(
    *,
    smoothing: float = 1e-3,
    scale: Literal["each", "overall", "l2", "none"] = "each",
    pca: int | float | None = None,
) -> Preprocessed:
    """`smoothing`: what is added to each variance, in shares of the largest."""
    return Preprocessed(GaussianNB(var_smoothing=smoothing), scale=scale, pca=pca)
