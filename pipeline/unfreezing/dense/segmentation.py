"""Training a network on masks: from a head of a segmentation, end to end, scored at the pictures' own size.

Letters: b batch, d features, h height, w width in cells, k classes.
"""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from torch import Tensor, nn
from torch.nn import functional as F

from icebox.features.abc.targets import IGNORED
from icebox.features.errors import IceboxError
from icebox.features.images.regions import Region
from icebox.pipeline.data.class_weights import factors
from icebox.pipeline.data.dense import PictureView
from icebox.pipeline.dense import segmenting
from icebox.pipeline.estimators import torch_conversion
from icebox.pipeline.estimators.preprocessing import PreprocessedHead
from icebox.pipeline.evaluation.dense_tasks.dense import ScoredPictures
from icebox.pipeline.unfreezing.dense.pictures import PicturesJob, PicturesTuner, Standardized

FINER = 2  # times the map's size, at which scores are compared with masks: as heads/pixel_conv.py does


class SegmentationTuner(PicturesTuner):
    """A training run on pictures with masks; `class_weights`: (k,)."""

    def __init__(self, *args: Any, class_weights: np.ndarray, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self.class_weights = torch.from_numpy(class_weights.astype(np.float32)).to(self.fabric.device)

    def loss_of(self, outputs: Tensor, batch: Sequence[PictureView]) -> Tensor | None:
        """The weighted cross-entropy of logits (b, k, h, w) at the finer size; None where all is ignored."""
        size = FINER * outputs.shape[2], FINER * outputs.shape[3]
        classes = np.stack([self.data.cell_classes(item, view, size) for item, view in batch])
        if not (classes != IGNORED).any():
            return None
        targets = torch.from_numpy(classes.astype(np.int64)).to(outputs.device)
        fine = F.interpolate(outputs.float(), size=size, mode="bilinear", align_corners=False)
        return F.cross_entropy(
            fine, targets, self.class_weights, ignore_index=IGNORED, label_smoothing=self.options.label_smoothing
        )

    def answers(self, outputs: Tensor, items: Sequence[int]) -> list[np.ndarray]:
        """The mask (h, w) of each of these pictures."""
        masks = []
        probabilities = outputs.float().softmax(1).permute(0, 2, 3, 1).cpu().numpy()
        for item, scores in zip(items, probabilities, strict=True):
            h, w = self.data.targets.sizes[item].tolist()
            masks.append(segmenting.stitched([(Region(0, 0, w, h), scores)], (h, w)))
        return masks

    def score_answers(
        self, pictures: np.ndarray, answers: Sequence[np.ndarray], *, choosing: str = ""
    ) -> ScoredPictures:
        """Masks and their scores."""
        return segmenting.score_masks(self.data, pictures, answers, choosing=choosing)


def head_module(head: Any) -> nn.Module:
    """A fitted head of masks as a module: maps (b, d, h, w) → logits (b, k, h, w).

    Raises IceboxError for one that is neither linear, nor a perceptron, nor convolutions.
    """
    if hasattr(head, "network_"):
        network: nn.Module = copy.deepcopy(head.network_)
        return network
    if not isinstance(head, PreprocessedHead):
        raise IceboxError(f"{type(head).__name__} can't become a torch head; take pixel_conv, pixel_linear, pixel_mlp")
    return CellwiseHead(torch_conversion.as_torch(head))


class CellwiseHead(nn.Module):
    """A head of vectors (n, d) → (n, k), at every cell of maps (b, d, h, w)."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, maps: Tensor) -> Tensor:
        """Logits (b, k, h, w)."""
        b, d, h, w = maps.shape
        cells = maps.permute(0, 2, 3, 1).reshape(-1, d)
        logits: Tensor = self.head(cells).reshape(b, h, w, -1).permute(0, 3, 1, 2)
        return logits


def fresh_head(maps: Tensor, pixels: np.ndarray) -> nn.Module:
    """An unfitted head: standardization by these maps (b, d, h, w), then a linear layer of zeros, whose bias are the
    logarithms of the classes' shares of `pixels` (k,)."""
    linear = nn.Conv2d(maps.shape[1], len(pixels), 1)
    with torch.no_grad():
        linear.weight.zero_()
        assert linear.bias is not None
        linear.bias.copy_(torch.from_numpy(np.log((pixels / max(pixels.sum(), 1)).clip(1e-9))))
    return nn.Sequential(Standardized.by(maps), linear)


class TrainedMaps(BaseEstimator):
    """The head of a network that was trained on: maps (b, h, w, d) → probabilities (b, h, w, k)."""

    def __init__(self, module: nn.Module | None = None) -> None:
        self.module = module

    def fit_maps(self, train: Any, val: Any, class_weights: np.ndarray) -> "TrainedMaps":
        """It is trained already."""
        return self

    def refit_parameters(self) -> dict[str, Any]:
        """None."""
        return {}

    @torch.inference_mode()
    def predict_maps(self, maps: np.ndarray) -> np.ndarray:
        """Probabilities of the classes in each cell."""
        assert self.module is not None
        logits = self.module.cpu().eval()(torch.from_numpy(maps).permute(0, 3, 1, 2))
        probabilities: np.ndarray = logits.softmax(1).permute(0, 2, 3, 1).numpy()
        return probabilities


class SegmentationJob(PicturesJob):
    """A training on masks."""

    TARGETS = "masks"

    @property
    def choose(self) -> str:
        """The metric that chooses the best epoch; boundaries would take longer than the epoch."""
        return self.fit.choose if self.fit.choose != "boundary_f1" else "miou"

    def fitted_head(self) -> nn.Module:
        """The head to start from as a module, its scaling included."""
        return head_module(self.start_bundle.head)

    def fresh_head(self, features: Tensor) -> nn.Module:
        """An unfitted head, standardized by maps (b, d, h, w) of some pictures of train."""
        return fresh_head(features, self.pictures.class_pixels(self.pictures.train))

    def pictures_tuner(self, *args: Any, **keywords: Any) -> SegmentationTuner:
        """A tuner on masks, with the weights of the input's classes."""
        pixels = self.pictures.class_pixels(self.pictures.train)
        weights = factors(self.fit.class_weights, self.classes, pixels, "class_weights")
        return SegmentationTuner(*args, class_weights=weights, **keywords)

    def trained_head(self, module: nn.Module) -> TrainedMaps:
        """The trained head as an estimator, for the bundle."""
        return TrainedMaps(module)
