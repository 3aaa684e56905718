"""Training a network on masks: from a head of a segmentation, end to end, scored at the pictures' own size.

Letters: b batch, d features, h height, w width in cells, k classes.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from torch import Tensor, nn
from torch.nn import functional as F

from icebox.features.abc.targets import IGNORED
from icebox.features.errors import IceboxError
from icebox.features.extraction.views import HFLIP, IDENTITY
from icebox.features.images.regions import Region
from icebox.features.manifest.validation import Task
from icebox.features.nn.backbone import TorchBackbone
from icebox.features.nn.layer_outputs import Inputs
from icebox.pipeline.config.unfreeze import UnfreezeOptions
from icebox.pipeline.data import dense as dense_data
from icebox.pipeline.data.class_weights import factors
from icebox.pipeline.data.dense import DenseData
from icebox.pipeline.dense import segmenting
from icebox.pipeline.estimators import torch_conversion
from icebox.pipeline.estimators.preprocessing import PreprocessedHead
from icebox.pipeline.evaluation.dense_tasks import dense, segmentation
from icebox.pipeline.evaluation.dense_tasks.dense import DensePredictions, ScoredPictures
from icebox.pipeline.evaluation.dense_tasks.segmentation import SegmentationSample
from icebox.pipeline.unfreezing.end_to_end import EndToEndModel
from icebox.pipeline.unfreezing.freezing_schedule import FreezingSchedule
from icebox.pipeline.unfreezing.initialization import SPREAD_MIN
from icebox.pipeline.unfreezing.inputs import Items
from icebox.pipeline.unfreezing.job import FineTuningJob
from icebox.pipeline.unfreezing.trainer import EpochCallback, FineTuner

FINER = 2  # times the map's size, at which scores are compared with masks: as heads/pixel_conv.py does
AUGMENTATIONS = ("flip",)  # those that a mask follows


class EndToEndSegmenter(EndToEndModel):
    """Computes the maps of b pictures, brings them to the finest one's size, and passes them to the head."""

    def features(self, inputs: Inputs) -> Tensor:
        """Maps (b, d, h, w), side by side in the order of `StoredMaps.read`."""
        maps = [values.permute(0, 3, 1, 2).float() for values in self.layer_outputs.tensors(inputs).values()]
        size = max(each.shape[2] for each in maps), max(each.shape[3] for each in maps)
        return torch.cat([F.interpolate(each, size=size, mode="bilinear", align_corners=False) for each in maps], dim=1)


class SegmentationTuner(FineTuner):
    """A training run on the pictures (n,) of a split, at these positions of the manifest."""

    def __init__(
        self, *args: Any, data: DenseData, pictures: np.ndarray, class_weights: np.ndarray, **keywords: Any
    ) -> None:
        super().__init__(*args, targets=np.arange(len(pictures)), **keywords)
        self.data, self.pictures = data, pictures
        self.class_weights = torch.from_numpy(class_weights.astype(np.float32)).to(self.fabric.device)

    def backward(
        self, prepared: Sequence[Any], positions: np.ndarray, batch_size: int, generator: torch.Generator
    ) -> float:
        """Add up the gradients of a micro-batch of a batch of `batch_size` pictures → its share of the batch's loss."""
        (inputs,) = self.train.inputs(prepared)
        mirrored = np.zeros(len(positions), bool)
        if "flip" in self.options.augment:
            mirrored = (torch.rand(len(positions), generator=generator) < 0.5).numpy()
            inputs = mirror(inputs, mirrored)
        logits = self.wrapped_model([inputs])
        size = FINER * logits.shape[2], FINER * logits.shape[3]
        classes = np.stack(
            [
                self.data.cell_classes(item, HFLIP if flipped else IDENTITY, size)
                for item, flipped in zip(self.pictures[positions].tolist(), mirrored.tolist(), strict=True)
            ]
        )
        if not (classes != IGNORED).any():
            return 0.0
        targets = torch.from_numpy(classes.astype(np.int64)).to(logits.device)
        fine = F.interpolate(logits.float(), size=size, mode="bilinear", align_corners=False)
        mean = F.cross_entropy(
            fine, targets, self.class_weights, ignore_index=IGNORED, label_smoothing=self.options.label_smoothing
        )
        loss = mean * len(positions) / batch_size
        self.fabric.backward(loss)
        return float(loss.detach())

    @torch.inference_mode()
    def predict_masks(self, items: Items, pictures: np.ndarray) -> list[np.ndarray]:
        """The mask (h, w) of each of these pictures, in its own size, with the current weights."""
        self.model.eval()
        masks: dict[int, np.ndarray] = {}
        for positions, prepared in items.batches(np.arange(len(items)), self.options.batch_size):
            for rows in self.micro_batches(items, prepared):
                probabilities = self.model(items.inputs([prepared[i] for i in rows])).float().softmax(1)
                for position, scores in zip(positions[rows].tolist(), probabilities.cpu().numpy(), strict=True):
                    h, w = self.data.targets.sizes[pictures[position]].tolist()
                    masks[position] = segmenting.stitched([(Region(0, 0, w, h), scores.transpose(1, 2, 0))], (h, w))
        return [masks[position] for position in range(len(items))]

    def scores_of_val(self) -> dict[str, float]:
        """The metrics on val, without those of boundaries."""
        assert self.data.val is not None
        pictures = self.data.val
        counts = [
            segmentation.confusion(self.data.mask(item), mask, len(self.data.classes))
            for item, mask in zip(pictures.tolist(), self.predict_masks(self.val, pictures), strict=True)
        ]
        return score(self.data, pictures, SegmentationSample(np.stack(counts))).scores


def mirror(inputs: Inputs, mirrored: np.ndarray) -> Inputs:
    """Images (b, c, h, w), those that are to be mirrored with left and right exchanged."""
    (images,) = inputs.args
    chosen = torch.from_numpy(mirrored).to(images.device)[:, None, None, None]
    return Inputs((torch.where(chosen, images.flip(-1), images),), inputs.kwargs, inputs.mask)


def score(
    data: DenseData, pictures: np.ndarray, sample: SegmentationSample, masks: Sequence[np.ndarray] = ()
) -> ScoredPictures:
    """Predicted masks of pictures with their scores."""
    answers = {"mask": [segmenting.png(mask) for mask in masks]} if masks else {}
    return dense.score(DensePredictions(data.classes, data.item_ids[pictures].tolist(), sample, answers))


def score_masks(data: DenseData, pictures: np.ndarray, masks: Sequence[np.ndarray]) -> ScoredPictures:
    """Predicted masks of pictures with all their scores."""
    pairs = [(data.mask(item), mask) for item, mask in zip(pictures.tolist(), masks, strict=True)]
    counts = np.stack([segmentation.confusion(truth, mask, len(data.classes)) for truth, mask in pairs])
    boundaries = np.array([segmentation.boundary_score(truth, mask) for truth, mask in pairs])
    return score(data, pictures, SegmentationSample(counts, boundaries), masks)


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


class Standardized(nn.Module):
    """Maps (b, d, h, w) less each feature's mean, divided by its deviation (d,); both stay fixed."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, mean: Tensor, deviation: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean[:, None, None])
        self.register_buffer("deviation", deviation[:, None, None])

    def forward(self, maps: Tensor) -> Tensor:
        """(b, d, h, w) → standardized (b, d, h, w)."""
        return (maps - self.mean) / self.deviation


def fresh_head(maps: Tensor, pixels: np.ndarray) -> nn.Module:
    """An unfitted head: standardization by these maps (b, d, h, w), then a linear layer of zeros, whose bias are the
    logarithms of the classes' shares of `pixels` (k,)."""
    mean, spread = maps.mean((0, 2, 3)), maps.std((0, 2, 3))
    spread = torch.where(spread > SPREAD_MIN, spread, torch.ones_like(spread))
    linear = nn.Conv2d(maps.shape[1], len(pixels), 1)
    with torch.no_grad():
        linear.weight.zero_()
        assert linear.bias is not None
        linear.bias.copy_(torch.from_numpy(np.log((pixels / max(pixels.sum(), 1)).clip(1e-9))))
    return nn.Sequential(Standardized(mean, spread), linear)


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


class SegmentationJob(FineTuningJob):
    """A training on masks."""

    standardization_items = 16  # a picture's maps take megabytes
    sees_whole_pictures = True

    def _load(self) -> dict[str, np.ndarray]:
        self.pictures = dense_data.load(self.features, outputs=self.input.outputs, views=self.input.expanded_views)
        if odd := [view for view in self.pictures.views if view not in (IDENTITY, HFLIP)]:
            raise IceboxError(
                f"training sees whole pictures, and '{self.options.start_input}' also {odd[0]}; begin from an input of "
                f"`views: [{IDENTITY}]` or `[{IDENTITY}, {HFLIP}]`"
            )
        if other := [kind for kind in self.options.augment if kind not in AUGMENTATIONS]:
            raise IceboxError(
                f"augment: masks follow {', '.join(AUGMENTATIONS)}, found {', '.join(other)}; take it out"
            )
        for key in ("mixup", "r_drop"):
            if getattr(self.options, key):
                raise IceboxError(f"{key}: expected labels, found masks; take {key} out")
        return {split: self.pictures.item_ids[items] for split, items in self.pictures.splits.items()}

    @property
    def task(self) -> Task:
        """The dataset's task."""
        return "segmentation"

    @property
    def classes(self) -> list[str]:
        """The names of the classes."""
        return self.pictures.classes

    @property
    def choose(self) -> str:
        """The metric that chooses the best epoch; boundaries would take longer than the epoch."""
        return self.fit.choose if self.fit.choose != "boundary_f1" else "miou"

    @property
    def tests(self) -> list[str]:
        """The test sets."""
        return list(self.pictures.tests)

    def model(self, backbone: TorchBackbone, head: nn.Module) -> EndToEndSegmenter:
        """Backbone and head as one."""
        return EndToEndSegmenter(backbone, head)

    def fitted_head(self) -> nn.Module:
        """The head to start from as a module, its scaling included."""
        return head_module(self.start_bundle.head)

    def fresh_head(self, features: Tensor) -> nn.Module:
        """An unfitted head, standardized by maps (b, d, h, w) of some pictures of train."""
        return fresh_head(features, self.pictures.class_pixels(self.pictures.train))

    def tuner(
        self,
        model: Any,
        schedule: FreezingSchedule,
        options: UnfreezeOptions,
        items: Mapping[str, Items],
        on_epoch: EpochCallback | None,
    ) -> FineTuner:
        """The training of a model on these pictures, by split."""
        pixels = self.pictures.class_pixels(self.pictures.train)
        return SegmentationTuner(
            model,
            schedule,
            options,
            train=items["train"],
            val=items["val"],
            score=dict,
            metric=self.choose,
            on_epoch=on_epoch,
            data=self.pictures,
            pictures=self.pictures.train,
            class_weights=factors(self.fit.class_weights, self.classes, pixels, "class_weights"),
        )

    def score_split(self, split: str, tuner: FineTuner, items: Items) -> ScoredPictures:
        """The trained network's masks for a split, and their scores."""
        assert isinstance(tuner, SegmentationTuner)
        pictures = self.pictures.splits[split]
        return score_masks(self.pictures, pictures, tuner.predict_masks(items, pictures))

    def trained_head(self, module: nn.Module) -> TrainedMaps:
        """The trained head as an estimator, for the bundle."""
        return TrainedMaps(module)
