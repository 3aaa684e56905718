"""The two kinds of heads that answer for each place of a picture, and their answers on maps.

Any classification head can be fitted on cells, drawn from maps as if each were an item (`CellHead` says how many). A
head of whole maps sees neighborhoods: its file says `TASKS = ("segmentation",)`, and its `build` returns a `MapHead`.

Letters: b pictures, h height, w width in cells, d features, m cells, k classes.
"""

from typing import Any, Protocol, Self, runtime_checkable

import numpy as np

from icebox.pipeline.data.dense import Pictures
from icebox.pipeline.estimators.preprocessing import PreprocessedHead
from icebox.pipeline.estimators.scaling import Scale
from icebox.pipeline.evaluation import predictions

SHARE = 0.05  # of train's cells, of which a head is fitted that does not say: more hardly change a fit


class CellHead(PreprocessedHead):
    """A classifier of cells (m, d), fitted on a `share` of train's."""

    def __init__(
        self, estimator: Any, *, scale: Scale = "each", pca: float | None = None, share: float = SHARE
    ) -> None:
        super().__init__(estimator, scale=scale, pca=pca)
        self.share = share


@runtime_checkable
class MapHead(Protocol):
    """A head that is fitted on whole maps, which are read from the store a batch at a time."""

    def fit_maps(self, train: Pictures, val: Pictures | None, class_weights: np.ndarray) -> Self:
        """Fit on the pictures of train; `val`, where there is one, are those to stop by. `class_weights`: (k,).

        Raises ValueError for data that it can't be fitted on.
        """

    def predict_maps(self, maps: np.ndarray) -> Any:
        """Of maps (b, h, w, d) float32 the answers: of a segmentation probabilities (b, h, w, k), also at a finer size
        than the maps'."""

    def refit_parameters(self) -> dict[str, Any]:
        """The keywords of `build` with which a fit without val stops where this one did; {} where it had no val."""


def share_of(head: Any) -> float:
    """The share of train's cells that a head is fitted on."""
    return float(head.share) if isinstance(head, CellHead) else SHARE


def cell_scores(head: Any, maps: np.ndarray, classes: int) -> np.ndarray:
    """The scores (b, h, w, k) float32 of each class in each cell of maps (b, h, w, d): probabilities, or margins."""
    if isinstance(head, MapHead):
        scores = np.asarray(head.predict_maps(maps), np.float32)
    else:
        b, h, w, d = maps.shape
        flat = predictions.predict(head, maps.reshape(b * h * w, d), classes).scores
        scores = flat.astype(np.float32).reshape(b, h, w, classes)
    if np.isnan(scores).any():
        raise ValueError("Predictions contain NaN.")
    return scores
