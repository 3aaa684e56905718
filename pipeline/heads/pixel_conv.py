"""Convolutions on whole maps, in torch: each pixel is judged by its neighborhood too.

Letters: b batch, d features of a cell, c width, k classes, h height, w width in cells.
"""

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Gt, Le, Lt

from icebox.features.abc.targets import IGNORED
from icebox.pipeline.data.dense import Pictures, PictureView
from icebox.pipeline.dense.network_head import NetworkHead, as_images
from icebox.pipeline.dense.projection import ProjectedPictures
from icebox.pipeline.evaluation.dense_tasks import segmentation
from icebox.pipeline.evaluation.dense_tasks.segmentation import SegmentationSample

TASKS = ("segmentation",)
WHOLE_MAPS = True
SEARCH = {"learning_rate": [0.002]}  # the grid of an entry without settings
FINER = 2  # times the map's size, at which its scores are compared with the mask


def build(
    *,
    components: Annotated[int, Ge(1), Le(65_536)] = 256,
    width: Annotated[int, Ge(1), Le(4096)] = 128,
    layers: Annotated[int, Ge(0), Le(20)] = 2,
    epochs: Annotated[int, Ge(1), Le(100_000)] = 15,
    learning_rate: Annotated[float, Gt(0), Le(10)] = 2e-3,
    weight_decay: Annotated[float, Ge(0), Le(10**6)] = 1e-2,
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.1,
    batch_size: Annotated[int, Ge(1), Le(100_000)] = 8,
    patience: Annotated[int, Ge(1), Le(100_000)] = 10,
    stop_after: Annotated[int, Ge(1), Le(100_000)] | None = None,
    seed: Annotated[int, Ge(0), Lt(2**32)] = 0,
) -> "PixelConv":
    """The principal `components` of a cell's features are projected to `width`; then follow `layers` 3×3 convolutions,
    each of which reaches twice as far as the one before, and scores of both together, interpolated between cells.
    `learning_rate`: the peak of a cosine schedule over `epochs` of batches of `batch_size` pictures, each in a view
    drawn at random; AdamW with `weight_decay`. `dropout`: the share of the maps that is left out before the scores.
    With a val, training stops after `patience` epochs without a better mIoU there, and the best epoch's weights are
    kept; `stop_after` stops it at an epoch, the schedule unchanged."""
    return PixelConv(
        components=components,
        width=width,
        layers=layers,
        epochs=epochs,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        dropout=dropout,
        batch_size=batch_size,
        patience=patience,
        stop_after=stop_after,
        random_state=seed,
    )


class PixelConv(NetworkHead):
    """Maps (b, h, w, d) → probabilities (b, h, w, k). Trained on the run's device (`features/nn/devices.py`).

    The fitted `network_` takes maps (b, d, h, w) as they are stored to logits (b, k, h, w).
    """

    def __init__(
        self,
        *,
        components: int = 256,
        width: int = 128,
        layers: int = 2,
        epochs: int = 15,
        learning_rate: float = 2e-3,
        weight_decay: float = 1e-2,
        dropout: float = 0.1,
        batch_size: int = 8,
        patience: int = 10,
        stop_after: int | None = None,
        random_state: int = 0,
    ) -> None:
        self.components = components
        self.width = width
        self.layers = layers
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.dropout = dropout
        self.batch_size = batch_size
        self.patience = patience
        self.stop_after = stop_after
        self.random_state = random_state

    def untrained_network(self, depth: int, classes: int) -> Any:
        """The network that is fitted, with the settings of this head."""
        from icebox.pipeline.dense.networks import PixelNetwork

        return PixelNetwork(depth, width=self.width, layers=self.layers, dropout=self.dropout, classes=classes)

    def _loss(self, network: Any, train: Pictures, batch: Sequence[PictureView], maps: np.ndarray, weights: Any) -> Any:
        """The weighted cross-entropy at the finer size; None where all is ignored."""
        import torch
        from torch.nn.functional import cross_entropy, interpolate

        classes = train.classes(batch, finer(maps.shape[1:3]))
        if not (classes != IGNORED).any():
            return None
        logits = network(as_images(maps, weights.device))
        fine = interpolate(logits, size=classes.shape[1:], mode="bilinear", align_corners=False)
        targets = torch.from_numpy(classes.astype(np.int64)).to(logits.device)
        return cross_entropy(fine, targets, weights, ignore_index=IGNORED)

    def _score(self, network: Any, val: ProjectedPictures, weights: Any) -> float:
        """The mIoU on val, at the finer size."""
        from torch.nn.functional import interpolate

        counts = []
        for batch, maps in val.batches(self.batch_size, None):
            size = finer(maps.shape[1:3])
            logits = network(as_images(maps, weights.device))
            fine = interpolate(logits, size=size, mode="bilinear", align_corners=False)
            predicted, truth = fine.argmax(1).cpu().numpy(), val.pictures.classes(batch, size)
            counts += [segmentation.confusion(*pair, fine.shape[1]) for pair in zip(truth, predicted, strict=True)]
        return float(segmentation.mean_iou(SegmentationSample(np.stack(counts))))

    def predict_maps(self, maps: np.ndarray) -> np.ndarray:
        """Probabilities (b, h, w, k) of maps (b, h, w, d)."""
        probabilities: np.ndarray = self._forward(maps).softmax(1).permute(0, 2, 3, 1).cpu().numpy()
        return probabilities


def finer(size: tuple[int, ...]) -> tuple[int, int]:
    """The height and width at which scores are compared with masks, for maps of this size."""
    return FINER * size[0], FINER * size[1]
