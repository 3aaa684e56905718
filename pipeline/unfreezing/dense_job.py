"""Setup of an entry of `unfreeze:` whose store has maps, of a dataset with masks."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor, nn

from icebox.features.errors import IceboxError
from icebox.features.extraction.views import HFLIP, IDENTITY
from icebox.features.manifest.validation import Task
from icebox.features.nn.backbone import TorchBackbone
from icebox.pipeline.config.unfreeze import UnfreezeOptions
from icebox.pipeline.data import dense
from icebox.pipeline.data.class_weights import factors
from icebox.pipeline.evaluation.dense import ScoredPictures
from icebox.pipeline.unfreezing import segmentation
from icebox.pipeline.unfreezing.freezing_schedule import FreezingSchedule
from icebox.pipeline.unfreezing.inputs import Items
from icebox.pipeline.unfreezing.job import FineTuningJob
from icebox.pipeline.unfreezing.segmentation import EndToEndSegmenter, SegmentationTuner, TrainedMaps
from icebox.pipeline.unfreezing.trainer import EpochCallback, FineTuner


class SegmentationJob(FineTuningJob):
    """A training on masks."""

    standardization_items = 16  # a picture's maps take megabytes
    sees_whole_pictures = True

    def _load(self) -> dict[str, np.ndarray]:
        self.pictures = dense.load(self.features, outputs=self.input.outputs, views=self.input.expanded_views)
        if odd := [view for view in self.pictures.views if view not in (IDENTITY, HFLIP)]:
            raise IceboxError(
                f"training sees whole pictures, and '{self.options.start_input}' also {odd[0]}; begin from an input of "
                f"`views: [{IDENTITY}]` or `[{IDENTITY}, {HFLIP}]`"
            )
        if other := [kind for kind in self.options.augment if kind not in segmentation.AUGMENTATIONS]:
            raise IceboxError(
                f"augment: masks follow {', '.join(segmentation.AUGMENTATIONS)}, found {', '.join(other)}; take it out"
            )
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
        return segmentation.head_module(self.start_bundle.head)

    def fresh_head(self, features: Tensor) -> nn.Module:
        """An unfitted head, standardized by maps (b, d, h, w) of some pictures of train."""
        return segmentation.fresh_head(features, self.pictures.class_pixels(self.pictures.train))

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
        return segmentation.score_masks(self.pictures, pictures, tuner.predict_masks(items, pictures))

    def trained_head(self, module: nn.Module) -> TrainedMaps:
        """The trained head as an estimator, for the bundle."""
        return TrainedMaps(module)
