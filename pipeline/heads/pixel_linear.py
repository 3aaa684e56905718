"""Multinomial logistic regression on single cells of a picture's map: the linear probe of dense features."""

from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt

from icebox.pipeline.dense.base import CellHead
from icebox.pipeline.heads.logreg import LogReg

TASKS = ("segmentation",)
SEARCH = {"C": [0.001, 0.003, 0.01, 0.1]}  # the grid of an entry without settings


def build(
    *,
    C: Annotated[float, Gt(0), Le(10**12)] = 0.01,
    share: Annotated[float, Gt(0), Le(1)] = 0.05,
    scale: Literal["each", "overall", "l2", "none"] = "each",
    pca: Annotated[int, Ge(1)] | Annotated[float, Gt(0), Lt(1)] | None = None,
    max_iter: Annotated[int, Ge(1), Le(1_000_000)] = 1000,
    tol: Annotated[float, Gt(0), Lt(1)] = 1e-3,
) -> CellHead:
    """`C`: inverse strength of the L2 penalty. `share`: how many of train's cells it is fitted on; of each class that a
    picture has, some at least. `max_iter`: the most steps of the solver, which ends where no entry of the gradient is
    larger than `tol`."""
    return CellHead(LogReg(C=C, max_iter=max_iter, tol=tol), scale=scale, pca=pca, share=share)
