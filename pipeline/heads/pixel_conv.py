"""Convolutions on whole maps, in torch: each pixel is judged by its neighborhood too.

Letters: b batch, d features of a cell, c width, k classes, h height, w width in cells.
"""

import copy
from typing import Annotated, Any, Self

import numpy as np
from annotated_types import Ge, Gt, Le, Lt

from icebox.features.abc.targets import IGNORED
from icebox.pipeline.data.dense import Pictures
from icebox.pipeline.dense import projection
from icebox.pipeline.dense.network_head import NetworkHead
from icebox.pipeline.dense.projection import ProjectedPictures
from icebox.pipeline.estimators import torch_settings
from icebox.pipeline.evaluation import segmentation
from icebox.pipeline.evaluation.segmentation import SegmentationSample

TASKS = ("segmentation",)
WHOLE_MAPS = True
SEARCH = {"learning_rate": [0.002]}  # the grid of an entry without settings
FINER = 2  # times the map's size, at which its scores are compared with the mask
WARM_UP = 0.1  # of all steps


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

    def _train(self, train: Pictures, val: Pictures | None, class_weights: np.ndarray, device: str) -> Self:
        import torch

        from icebox.pipeline.dense.networks import PixelNetwork, Projected

        random = np.random.default_rng(self.random_state)
        components = projection.fit(train, self.components)
        pictures = ProjectedPictures(train, components)
        to_stop_by = None if val is None else ProjectedPictures(val, components)
        network = PixelNetwork(
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
        weights = torch_settings.float_tensor(class_weights, device)
        best_score, self.n_epochs_, best_network = -1.0, 0, None
        for epoch in range(1, min(self.epochs, self.stop_after or self.epochs) + 1):
            network.train()
            for batch, maps in pictures.batches(self.batch_size, random):
                classes = train.classes(batch, finer(maps.shape[1:3]))
                if (classes != IGNORED).any():
                    loss = self._loss(network(as_images(maps, device)), classes, weights)
                    if not torch.isfinite(loss):
                        raise ValueError("training diverged: its loss is no number; lower the learning_rate")
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                schedule.step()
            if to_stop_by is None:
                self.n_epochs_ = epoch
                continue
            score = self._score(network, to_stop_by, device)
            if score > best_score:
                best_score, self.n_epochs_, best_network = score, epoch, copy.deepcopy(network)
            elif epoch - self.n_epochs_ >= self.patience:
                break
        first = Projected(components.mean, components.matrix)
        self.network_ = torch.nn.Sequential(first, (best_network or network).to("cpu")).eval()
        self.stopped_ = best_network is not None
        return self

    def _loss(self, logits: Any, classes: np.ndarray, weights: Any) -> Any:
        """The weighted cross-entropy of logits (b, k, h, w) at the finer classes (b, h', w')."""
        import torch
        from torch.nn.functional import cross_entropy, interpolate

        fine = interpolate(logits, size=classes.shape[1:], mode="bilinear", align_corners=False)
        targets = torch.from_numpy(classes.astype(np.int64)).to(logits.device)
        return cross_entropy(fine, targets, weights, ignore_index=IGNORED)

    def _score(self, network: Any, val: ProjectedPictures, device: str) -> float:
        """The mIoU on val, at the finer size."""
        import torch
        from torch.nn.functional import interpolate

        network.eval()
        counts = []
        with torch.inference_mode():
            for batch, maps in val.batches(self.batch_size, None):
                size = finer(maps.shape[1:3])
                logits = interpolate(network(as_images(maps, device)), size=size, mode="bilinear", align_corners=False)
                predicted = logits.argmax(1).cpu().numpy()
                truth = val.pictures.classes(batch, size)
                counts += [
                    segmentation.confusion(*pair, logits.shape[1]) for pair in zip(truth, predicted, strict=True)
                ]
        return float(segmentation.mean_iou(SegmentationSample(np.stack(counts))))

    def predict_maps(self, maps: np.ndarray) -> np.ndarray:
        """Probabilities (b, h, w, k) of maps (b, h, w, d)."""
        import torch

        from icebox.features.nn.devices import default_device

        device = default_device()
        with torch.inference_mode():
            logits = self.network_.to(device)(as_images(maps, device))
            probabilities: np.ndarray = logits.softmax(1).permute(0, 2, 3, 1).cpu().numpy()
        self.network_.to("cpu")
        return probabilities


def finer(size: tuple[int, ...]) -> tuple[int, int]:
    """The height and width at which scores are compared with masks, for maps of this size."""
    return FINER * size[0], FINER * size[1]


def as_images(maps: np.ndarray, device: str) -> Any:
    """Maps (b, h, w, d) as torch's convolutions take them: (b, d, h, w)."""
    import torch

    return torch.from_numpy(maps).to(device).permute(0, 3, 1, 2)
