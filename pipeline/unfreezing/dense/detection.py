"""Training a network on boxes: from the head `boxes`, by that head's own loss, end to end, scored in the pictures' own
pixels.

Letters: b batch, d features, h height, w width in cells, k classes.
"""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor, nn

from icebox.features.errors import IceboxError
from icebox.features.images.regions import Region
from icebox.pipeline.config.schema import FRESH
from icebox.pipeline.data.dense import PictureView
from icebox.pipeline.dense import detecting
from icebox.pipeline.dense.matching import Detections
from icebox.pipeline.evaluation.dense_tasks.dense import ScoredPictures
from icebox.pipeline.heads import boxes
from icebox.pipeline.heads.boxes import BoxesHead
from icebox.pipeline.unfreezing.dense.pictures import PicturesJob, PicturesTuner, Standardized

Outputs = tuple[Tensor, Tensor]  # heat (b, k, h, w) and sides (b, 4, h, w)


class DetectionTuner(PicturesTuner):
    """A training run on pictures with boxes; the `head` tells how its network's outputs are learned and read."""

    def __init__(self, *args: Any, head: BoxesHead, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self.head = head

    def loss_of(self, outputs: Outputs, batch: Sequence[PictureView]) -> Tensor:
        """The head's own loss."""
        loss: Tensor = self.head.loss_of(outputs, self.data, batch)
        return loss

    def answers(self, outputs: Outputs, items: Sequence[int]) -> list[Detections]:
        """The boxes of each of these pictures."""
        heat, sides = self.head.in_shares(*outputs)
        answers = []
        for i, item in enumerate(items):
            h, w = self.data.targets.sizes[item].tolist()
            answers.append(detecting.boxes_of(self.head, [(Region(0, 0, w, h), heat[i], sides[i])], (h, w)))
        return answers

    def score_answers(
        self, pictures: np.ndarray, answers: Sequence[Detections], *, choosing: str = ""
    ) -> ScoredPictures:
        """Boxes and their scores."""
        return detecting.score_boxes(self.data, pictures, answers, choosing=choosing)


class DetectionJob(PicturesJob):
    """A training on boxes."""

    TARGETS = "boxes"
    NOT_FOR = (*PicturesJob.NOT_FOR, "label_smoothing")

    def _load(self) -> dict[str, np.ndarray]:
        item_ids = super()._load()
        val = [] if self.pictures.val is None else self.pictures.val.tolist()
        if val and all(self.pictures.boxes(item).ignored.all() for item in val):
            raise IceboxError(
                f"expected boxes in val, which the best epoch is chosen by, found none in its {len(val):,} pictures; "
                "change the dataset's split"
            )
        return item_ids

    @property
    def head(self) -> BoxesHead:
        """The head to start from, or one of default settings for `start: fresh`.

        Raises IceboxError for one of another family.
        """
        if self.options.start_head == FRESH:
            return boxes.build()
        head = self.start_bundle.head
        if not isinstance(head, BoxesHead):
            raise IceboxError(f"{type(head).__name__} can't become a torch head; take boxes")
        return head

    def fitted_head(self) -> nn.Module:
        """The network of the head to start from, its projection included."""
        network: nn.Module = copy.deepcopy(self.head.network_)
        return network

    def fresh_head(self, features: Tensor) -> nn.Module:
        """An unfitted head, standardized by maps (b, d, h, w) of some pictures of train."""
        network = self.head.untrained_network(features.shape[1], len(self.classes))
        return nn.Sequential(Standardized.by(features), network)

    def pictures_tuner(self, *args: Any, **keywords: Any) -> DetectionTuner:
        """A tuner on boxes."""
        return DetectionTuner(*args, head=self.head, **keywords)

    def trained_head(self, module: nn.Module) -> BoxesHead:
        """The head with its trained network, for the bundle."""
        head = copy.copy(self.head)
        head.network_ = module
        return head
