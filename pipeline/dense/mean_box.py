"""The boxes of a head that has learned nothing: those of the mean size, wherever a map has a cell.

Letters: b pictures, h height, w width in cells, d features, k classes.
"""

from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator

from icebox.pipeline.data.dense import Pictures
from icebox.pipeline.dense import box_targets


class MeanBox(BaseEstimator):
    """Maps (b, h, w, d) → boxes of the commonest class's mean size, of every class in every cell, as sure as it is
    common."""

    overlap = 0.6  # as heads/boxes.py has them
    boxes_max = 100

    def fit_maps(self, train: Pictures, val: Pictures | None, class_weights: np.ndarray) -> Self:
        """Count the boxes of train's pictures, and average their sides as shares of the picture's. Raises ValueError
        where there are none."""
        corners, labels = [], []
        for item in train.items.tolist():
            region = train.data.region(item, train.data.views[0])
            of_picture, classes, ignored = box_targets.within(train.data.boxes(item), region)
            corners.append(of_picture[~ignored])
            labels.append(classes[~ignored])
        counts = np.bincount(np.concatenate(labels), minlength=len(train.data.classes))
        if not counts.any():
            raise ValueError("no picture of train has a box")
        sizes = np.concatenate(corners)[np.concatenate(labels) == counts.argmax()]
        self.shares_ = (counts / counts.sum()).astype(np.float32)
        self.half_ = ((sizes[:, 2:] - sizes[:, :2]).mean(axis=0) / 2).astype(np.float32)
        return self

    def predict_maps(self, maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of maps (b, h, w, d) the heat (b, h, w, k), in each cell the classes' shares of all boxes, and how far each
        cell's box reaches to the left, up, right and down of its centre, as shares of width and height (b, h, w, 4)."""
        heat = np.broadcast_to(self.shares_, (*maps.shape[:3], len(self.shares_)))
        return heat, np.broadcast_to(np.tile(self.half_, 2), (*maps.shape[:3], 4))

    def refit_parameters(self) -> dict[str, Any]:
        """None: nothing stops by val."""
        return {}
