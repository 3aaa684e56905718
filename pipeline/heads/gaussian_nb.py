"""Gaussian naive Bayes. Correlated features make its probabilities overconfident; `pca` decorrelates them."""

from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt
from sklearn.naive_bayes import GaussianNB

from icebox.pipeline.estimators.preprocessing import PreprocessedHead

SEARCH = {"var_smoothing": [0.001, 0.01, 0.1], "pca": [None, 0.9]}  # the grid of an entry without settings


def build(
    *,
    var_smoothing: Annotated[float, Ge(0), Le(10**6)] = 1e-3,
    scale: Literal["each", "overall", "l2", "none"] = "each",
    pca: Annotated[int, Ge(1)] | Annotated[float, Gt(0), Lt(1)] | None = None,
) -> PreprocessedHead:
    """`var_smoothing` is added to each variance, as a share of the largest one."""
    return PreprocessedHead(GaussianNB(var_smoothing=var_smoothing), scale=scale, pca=pca)
