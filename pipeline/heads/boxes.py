"""An anchor-free detector on stored maps, in torch: peaks of a heat map for each class, and distances to a box's sides.

CenterNet's form (Zhou et al. 2019), trained as TTFNet is (Liu et al. 2020).

Letters: b pictures, h height, w width in cells, c components, k classes, m boxes.
"""

import copy
from typing import Annotated, Any, Literal, Self

import numpy as np
from annotated_types import Ge, Gt, Le, Lt

from icebox.pipeline.data.dense import Pictures
from icebox.pipeline.dense import box_targets, projection
from icebox.pipeline.dense.network_head import NetworkHead
from icebox.pipeline.dense.projection import ProjectedPictures

TASKS = ("detection",)
WHOLE_MAPS = True
SEARCH = {"learning_rate": [0.002]}  # the grid of an entry without settings
WARM_UP = 0.1  # of all steps
CLIP = 10.0  # the largest norm of a gradient
PEAKS = 3  # cells a side in which a peak is the largest


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

    def _train(self, train: Pictures, val: Pictures | None, class_weights: np.ndarray, device: str) -> Self:
        import torch

        from icebox.pipeline.dense.networks import BoxNetwork, Projected

        components = projection.fit(train, self.components)
        pictures = ProjectedPictures(train, components)
        to_stop_by = ProjectedPictures(val, components) if val is not None else None
        network = BoxNetwork(
            components.matrix.shape[1],
            width=self.width,
            layers=self.layers,
            dropout=self.dropout,
            classes=len(train.data.classes),
        ).to(device)
        optimizer = torch.optim.AdamW(network.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay)
        steps = self.epochs * -(-len(train) // self.batch_size)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, self.learning_rate, total_steps=steps + 1, pct_start=WARM_UP
        )
        random = np.random.default_rng(self.random_state)
        least_loss, self.n_epochs_, best_network = float("inf"), 0, None
        for epoch in range(1, min(self.epochs, self.stop_after or self.epochs) + 1):
            network.train()
            for batch, maps in pictures.batches(self.batch_size, random):
                loss = self._loss(network, train, batch, maps, device)
                if not torch.isfinite(loss):
                    raise ValueError("training diverged: its loss is no number; lower the learning_rate")
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(network.parameters(), CLIP)
                optimizer.step()
                schedule.step()
            if to_stop_by is None or val is None:
                self.n_epochs_ = epoch
                continue
            network.eval()
            with torch.inference_mode():
                losses = [
                    float(self._loss(network, val, batch, maps, device)) * len(batch)
                    for batch, maps in to_stop_by.batches(self.batch_size, None)
                ]
            loss_on_val = sum(losses) / len(val)
            if loss_on_val < least_loss:
                least_loss, self.n_epochs_, best_network = loss_on_val, epoch, copy.deepcopy(network)
            elif epoch - self.n_epochs_ >= self.patience:
                break
        first = Projected(components.mean, components.matrix)
        self.network_ = torch.nn.Sequential(first, (best_network or network).to("cpu")).eval()
        self.stopped_ = best_network is not None
        return self

    def _loss(self, network: Any, pictures: Pictures, batch: Any, maps: np.ndarray, device: str) -> Any:
        """The loss of a batch of pictures in their views, by their projected maps (b, h, w, c)."""
        import torch

        from icebox.pipeline.dense.networks import box_corners, focal_loss, overlap_loss

        size = maps.shape[1], maps.shape[2]
        learnt = [
            box_targets.targets(
                *box_targets.within(pictures.data.boxes(item), pictures.data.region(item, view)),
                len(pictures.data.classes),
                size,
            )
            for item, view in batch
        ]
        heat, corners, weights = (
            torch.from_numpy(np.stack([getattr(each, name) for each in learnt])).to(device)
            for name in ("heat", "corners", "weights")
        )
        with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            predicted, sides = network(torch.from_numpy(maps).to(device).permute(0, 3, 1, 2))
        return focal_loss(predicted, heat) + self.box_weight * overlap_loss(box_corners(sides), corners, weights)

    def predict_maps(self, maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of maps (b, h, w, d) the heat (b, h, w, k) in 0..1, and how far each cell's box reaches to the left, up,
        right and down of its centre, as shares of the map's width and height (b, h, w, 4)."""
        import torch

        from icebox.features.nn.devices import default_device

        device = default_device()
        with torch.inference_mode():
            heat, sides = self.network_.to(device)(torch.from_numpy(maps).to(device).permute(0, 3, 1, 2))
        self.network_.to("cpu")
        h, w = maps.shape[1:3]
        shares = sides.permute(0, 2, 3, 1).cpu().numpy() / np.array([w, h, w, h], np.float32)
        return heat.sigmoid().permute(0, 2, 3, 1).cpu().numpy(), shares
