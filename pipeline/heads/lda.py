"""Linear discriminant analysis: one Gaussian a class, all of one shape."""

from typing import Literal

from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from icebox.pipeline.estimators.preprocessing import Preprocessed


def build(
    *,
    shrinkage: float | Literal["auto"] | None = "auto",
    scale: Literal["each", "overall", "l2", "none"] = "each",
    pca: int | float | None = None,
) -> Preprocessed:
    """`shrinkage` of the covariance to a multiple of the identity, 0 to 1; `auto` is Ledoit and Wolf's."""
    return Preprocessed(LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage), scale=scale, pca=pca)
