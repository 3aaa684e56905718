"""An anchor-free detector on stored maps, in torch: peaks of a heat map for each class, and distances to a box's sides.

CenterNet's form (Zhou et al. 2019), trained as TTFNet is (Liu et al. 2020).

Letters: b pictures, h height, w width in cells, c components, k classes, m boxes.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge, Gt, Le, Lt

from icebox.pipeline.data.dense import DenseData, Pictures, PictureView
from icebox.pipeline.dense import box_targets
from icebox.pipeline.dense.network_head import NetworkHead, as_images
from icebox.pipeline.dense.projection import ProjectedPictures

TASKS = ("detection",)
WHOLE_MAPS = True
SEARCH = {"learning_rate": [0.002]}  # the grid of an entry without settings


def build(
    *,
    components: Annotated[int, Ge(1), Le(65_536)] = 160,
    width: Annotated[int, Ge(1), Le(4096)] = 96,
    layers: Annotated[int, Ge(0), Le(20)] = 3,
    epochs: Annotated[int, Ge(1), Le(100_000)] = 24,
    learning_rate: Annotated[float, Gt(0), Le(10)] = 2e-3,
    weight_decay: Annotated[float, Ge(0), Le(10**6)] = 1e-4,
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.1,
    batch_size: Annotated[int, Ge(1), Le(100_000)] = 4,
    box_weight: Annotated[float, Gt(0), Le(10**6)] = 2.0,
    overlap: Annotated[float, Gt(0), Le(1)] = 0.6,
    boxes_max: Annotated[int, Ge(1), Le(10_000)] = 100,
    precision: Literal["float32", "bfloat16"] = "float32",
    patience: Annotated[int, Ge(1), Le(100_000)] = 10,
    stop_after: Annotated[int, Ge(1), Le(100_000)] | None = None,
    seed: Annotated[int, Ge(0), Lt(2**32)] = 0,
) -> "BoxesHead":
    """The principal `components` of a cell's features are projected to `width`; then follow `layers` 3×3 convolutions,
    each of which reaches twice as far as the one before. `learning_rate`: the peak of a cosine schedule over `epochs`
    of batches of `batch_size` pictures, each in a view drawn at random; AdamW with `weight_decay`. `dropout`: the share
    of the components that is left out. `box_weight`: how much the boxes' overlap counts beside the heat maps.
    `precision` of the training's convolutions. Of boxes of one class that overlap by an IoU above `overlap` the surest
    stays; `boxes_max` of a picture are kept. With a val, training stops after `patience` epochs without a smaller loss
    there, and the best epoch's weights are kept; `stop_after` stops it at an epoch, the schedule unchanged."""
    return BoxesHead(
        components=components,
        width=width,
        layers=layers,
        epochs=epochs,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        dropout=dropout,
        batch_size=batch_size,
        box_weight=box_weight,
        overlap=overlap,
        boxes_max=boxes_max,
        precision=precision,
        patience=patience,
        stop_after=stop_after,
        random_state=seed,
    )


class BoxesHead(NetworkHead):
    """Maps (b, h, w, d) → boxes of each picture. Trained on the run's device (`features/nn/devices.py`).

    The fitted `network_` takes maps (b, d, h, w) as they are stored to heat (b, k, h, w) and sides (b, 4, h, w).
    """

    CLIP = 10.0

    def __init__(
        self,
        *,
        components: int = 160,
        width: int = 96,
        layers: int = 3,
        epochs: int = 24,
        learning_rate: float = 2e-3,
        weight_decay: float = 1e-4,
        dropout: float = 0.1,
        batch_size: int = 4,
        box_weight: float = 2.0,
        overlap: float = 0.6,
        boxes_max: int = 100,
        precision: str = "float32",
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
        self.box_weight = box_weight
        self.overlap = overlap
        self.boxes_max = boxes_max
        self.precision = precision
        self.patience = patience
        self.stop_after = stop_after
        self.random_state = random_state

    def untrained_network(self, depth: int, classes: int) -> Any:
        """The network that is fitted, with the settings of this head."""
        from icebox.pipeline.dense.networks import BoxNetwork

        return BoxNetwork(depth, width=self.width, layers=self.layers, dropout=self.dropout, classes=classes)

    def _loss(self, network: Any, train: Pictures, batch: Sequence[PictureView], maps: np.ndarray, weights: Any) -> Any:
        """`loss_of` the network's outputs; weights of classes are not taken."""
        import torch

        with torch.autocast(weights.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            outputs = network(as_images(maps, weights.device))
        return self.loss_of(outputs, train.data, batch)

    def loss_of(self, outputs: tuple[Any, Any], data: DenseData, batch: Sequence[PictureView]) -> Any:
        """The focal loss of the heat maps and the loss of the boxes' overlap, of a network's outputs for a batch of
        pictures."""
        import torch

        from icebox.pipeline.dense.networks import box_corners, focal_loss, overlap_loss

        heat, sides = outputs
        h, w = heat.shape[2:]
        learnt = [
            box_targets.targets(
                *box_targets.within(data.boxes(item), data.region(item, view)), len(data.classes), (h, w)
            )
            for item, view in batch
        ]
        peaks, corners, weights = (
            torch.from_numpy(np.stack([getattr(each, name) for each in learnt])).to(heat.device)
            for name in ("heat", "corners", "weights")
        )
        return focal_loss(heat, peaks) + self.box_weight * overlap_loss(box_corners(sides), corners, weights)

    def _score(self, network: Any, val: ProjectedPictures, weights: Any) -> float:
        """The loss on val, negated."""
        losses = [
            float(self._loss(network, val.pictures, batch, maps, weights)) * len(batch)
            for batch, maps in val.batches(self.batch_size, None)
        ]
        return -sum(losses) / len(val)

    def predict_maps(self, maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of maps (b, h, w, d) the heat (b, h, w, k) in 0..1, and how far each cell's box reaches to the left, up,
        right and down of its centre, as shares of the map's width and height (b, h, w, 4)."""
        return self.in_shares(*self._forward(maps))

    def in_shares(self, heat: Any, sides: Any) -> tuple[np.ndarray, np.ndarray]:
        """A network's outputs as `predict_maps` gives them."""
        h, w = heat.shape[2:]
        shares = sides.permute(0, 2, 3, 1).cpu().numpy() / np.array([w, h, w, h], np.float32)
        return heat.sigmoid().permute(0, 2, 3, 1).cpu().numpy(), shares
