"""Linear discriminant analysis: one Gaussian a class, all with one covariance."""

from typing import Literal

from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from icebox.pipeline.estimators.preprocessing import PreprocessedHead

SEARCH = {"pca": [None, 0.95]}  # the grid of an entry without settings


def build(
    *,
    shrinkage: float | Literal["auto"] | None = "auto",
    scale: Literal["each", "overall", "l2", "none"] = "each",
    pca: int | float | None = None,
) -> PreprocessedHead:
    """`shrinkage` of the covariance toward a multiple of the identity, 0 to 1; `auto` is Ledoit and Wolf's."""
    return PreprocessedHead(LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage), scale=scale, pca=pca)
