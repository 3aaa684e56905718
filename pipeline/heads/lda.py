"""Linear discriminant analysis: one Gaussian a class, all with one covariance."""

from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from icebox.pipeline.estimators.preprocessing import PreprocessedHead

SEARCH = {"pca": [None, 0.95]}  # the grid of an entry without settings


def build(
    *,
    shrinkage: Annotated[float, Ge(0), Le(1)] | Literal["auto"] | None = "auto",
    scale: Literal["each", "overall", "l2", "none"] = "each",
    pca: Annotated[int, Ge(1)] | Annotated[float, Gt(0), Lt(1)] | None = None,
) -> PreprocessedHead:
    """`shrinkage` of the covariance toward a multiple of the identity, 0 to 1; `auto` is Ledoit and Wolf's."""
    return PreprocessedHead(LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage), scale=scale, pca=pca)
