"""Training a network on pictures with masks or boxes: all that both have in common.

Letters: b batch, d features, h height, w width in cells, k classes.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from icebox.features.errors import IceboxError
from icebox.features.extraction.views import HFLIP, IDENTITY
from icebox.features.manifest.validation import Task
from icebox.features.nn.backbone import TorchBackbone
from icebox.features.nn.layer_outputs import Inputs
from icebox.pipeline.config.unfreeze import UnfreezeOptions
from icebox.pipeline.data import dense as dense_data
from icebox.pipeline.data.dense import DenseData, PictureView
from icebox.pipeline.evaluation.dense_tasks.dense import ScoredPictures
from icebox.pipeline.unfreezing.end_to_end import EndToEndModel
from icebox.pipeline.unfreezing.freezing_schedule import FreezingSchedule
from icebox.pipeline.unfreezing.initialization import SPREAD_MIN
from icebox.pipeline.unfreezing.inputs import Items
from icebox.pipeline.unfreezing.job import FineTuningJob
from icebox.pipeline.unfreezing.trainer import EpochCallback, FineTuner

AUGMENTATIONS = ("flip",)  # those that masks and boxes follow


class EndToEndMaps(EndToEndModel):
    """Computes the maps of b pictures, brings them to the finest one's size, and passes them to the head."""

    def features(self, inputs: Inputs) -> Tensor:
        """Maps (b, d, h, w), side by side in the order of `StoredMaps.read`."""
        maps = [values.permute(0, 3, 1, 2).float() for values in self.layer_outputs.tensors(inputs).values()]
        size = max(each.shape[2] for each in maps), max(each.shape[3] for each in maps)
        return torch.cat([F.interpolate(each, size=size, mode="bilinear", align_corners=False) for each in maps], dim=1)


class PicturesTuner(FineTuner):
    """A training run on the pictures (n,) of a split, at these positions of the manifest."""

    def __init__(self, *args: Any, data: DenseData, pictures: np.ndarray, **keywords: Any) -> None:
        super().__init__(*args, targets=np.arange(len(pictures)), score=dict, **keywords)
        self.data, self.pictures = data, pictures

    @abstractmethod
    def loss_of(self, outputs: Any, batch: Sequence[PictureView]) -> Tensor | None:
        """The mean loss of the head's outputs for these pictures; None where nothing of them is to be learned."""

    @abstractmethod
    def answers(self, outputs: Any, items: Sequence[int]) -> list[Any]:
        """The answer of the head's outputs for each of these pictures, in its own size."""

    @abstractmethod
    def score_answers(self, pictures: np.ndarray, answers: Sequence[Any], *, choosing: str = "") -> ScoredPictures:
        """The answers and their scores; with `choosing` no more than that metric needs."""

    def backward(
        self, prepared: Sequence[Any], positions: np.ndarray, batch_size: int, generator: torch.Generator
    ) -> float:
        """Add up the gradients of a micro-batch of a batch of `batch_size` pictures → its share of the batch's loss."""
        (inputs,) = self.train.inputs(prepared)
        mirrored = np.zeros(len(positions), bool)
        if "flip" in self.options.augment:
            mirrored = (torch.rand(len(positions), generator=generator) < 0.5).numpy()
            inputs = mirror(inputs, mirrored)
        views = [HFLIP if each else IDENTITY for each in mirrored.tolist()]
        batch = list(zip(self.pictures[positions].tolist(), views, strict=True))
        mean = self.loss_of(self.wrapped_model([inputs]), batch)
        if mean is None:
            return 0.0
        loss = mean * len(positions) / batch_size
        self.fabric.backward(loss)
        return float(loss.detach())

    @torch.inference_mode()
    def predict(self, items: Items, pictures: np.ndarray) -> list[Any]:
        """The answer for each of these pictures, in its own size, with the current weights.

        Raises IceboxError for outputs that are no numbers.
        """
        self.model.eval()
        answers: dict[int, Any] = {}
        for positions, prepared in items.batches(np.arange(len(items)), self.options.batch_size):
            for rows in self.micro_batches(items, prepared):
                outputs = self.model(items.inputs([prepared[i] for i in rows]))
                parts = outputs if isinstance(outputs, tuple) else (outputs,)
                if not all(bool(part.isfinite().all()) for part in parts):
                    raise IceboxError(
                        "the network's outputs are no numbers: the training has diverged; take a smaller learning_rate"
                    )
                of_rows = self.answers(outputs, pictures[positions[rows]].tolist())
                answers |= dict(zip(positions[rows].tolist(), of_rows, strict=True))
        return [answers[position] for position in range(len(items))]

    def scores_of_val(self) -> dict[str, float]:
        """The metrics on val that cost little."""
        assert self.data.val is not None
        answers = self.predict(self.val, self.data.val)
        return self.score_answers(self.data.val, answers, choosing=self.metric).scores


def mirror(inputs: Inputs, mirrored: np.ndarray) -> Inputs:
    """Images (b, c, h, w), those that are to be mirrored with left and right exchanged."""
    (images,) = inputs.args
    chosen = torch.from_numpy(mirrored).to(images.device)[:, None, None, None]
    return Inputs((torch.where(chosen, images.flip(-1), images),), inputs.kwargs, inputs.mask)


class Standardized(nn.Module):
    """Maps (b, d, h, w) less each feature's mean, divided by its deviation (d,); both stay fixed."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, mean: Tensor, deviation: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean[:, None, None])
        self.register_buffer("deviation", deviation[:, None, None])

    @classmethod
    def by(cls, maps: Tensor) -> "Standardized":
        """The standardization of these maps (b, d, h, w)."""
        mean, spread = maps.mean((0, 2, 3)), maps.std((0, 2, 3))
        return cls(mean, torch.where(spread > SPREAD_MIN, spread, torch.ones_like(spread)))

    def forward(self, maps: Tensor) -> Tensor:
        """(b, d, h, w) → standardized (b, d, h, w)."""
        return (maps - self.mean) / self.deviation


class PicturesJob(FineTuningJob):
    """A training on masks or boxes."""

    standardization_items = 16  # a picture's maps take megabytes
    sees_whole_pictures = True
    TARGETS: ClassVar[str]  # in a message's words
    NOT_FOR: ClassVar[Sequence[str]] = ("mixup", "r_drop")  # options for labels

    def _load(self) -> dict[str, np.ndarray]:
        self.pictures = dense_data.load(self.features, outputs=self.input.outputs, views=self.input.expanded_views)
        if odd := [view for view in self.pictures.views if view not in (IDENTITY, HFLIP)]:
            raise IceboxError(
                f"training sees whole pictures, and '{self.options.start_input}' also {odd[0]}; begin from an input of "
                f"`views: [{IDENTITY}]` or `[{IDENTITY}, {HFLIP}]`"
            )
        if other := [kind for kind in self.options.augment if kind not in AUGMENTATIONS]:
            raise IceboxError(
                f"augment: {self.TARGETS} follow {', '.join(AUGMENTATIONS)}, found {', '.join(other)}; take it out"
            )
        for key in self.NOT_FOR:
            if getattr(self.options, key):
                raise IceboxError(f"{key}: expected labels, found {self.TARGETS}; take {key} out")
        return {split: self.pictures.item_ids[items] for split, items in self.pictures.splits.items()}

    @property
    def task(self) -> Task:
        """The dataset's task."""
        return self.config.task(self.options.store)

    @property
    def classes(self) -> list[str]:
        """The names of the classes."""
        return self.pictures.classes

    @property
    def tests(self) -> list[str]:
        """The test sets."""
        return list(self.pictures.tests)

    def model(self, backbone: TorchBackbone, head: nn.Module) -> EndToEndMaps:
        """Backbone and head as one."""
        return EndToEndMaps(backbone, head)

    def tuner(
        self,
        model: Any,
        schedule: FreezingSchedule,
        options: UnfreezeOptions,
        items: Mapping[str, Items],
        on_epoch: EpochCallback | None,
    ) -> PicturesTuner:
        """The training of a model on these pictures, by split."""
        return self.pictures_tuner(
            model,
            schedule,
            options,
            train=items["train"],
            val=items["val"],
            metric=self.choose,
            on_epoch=on_epoch,
            data=self.pictures,
            pictures=self.pictures.train,
        )

    @abstractmethod
    def pictures_tuner(self, *args: Any, **keywords: Any) -> PicturesTuner:
        """The task's tuner with these arguments."""

    def score_split(self, split: str, tuner: FineTuner, items: Items) -> ScoredPictures:
        """The trained network's answers for a split, and their scores."""
        assert isinstance(tuner, PicturesTuner)
        pictures = self.pictures.splits[split]
        return tuner.score_answers(pictures, tuner.predict(items, pictures))
