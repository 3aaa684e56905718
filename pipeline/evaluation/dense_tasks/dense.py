"""Answers of a dense task (a mask, or boxes, for each picture), as they are scored, kept in files and compared.

A task's module defines its sample (`SAMPLES`): the counts of each picture from which its metrics are computed, under
weights too. All else is alike for every dense task.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np

from icebox.pipeline.evaluation import metrics
from icebox.pipeline.evaluation.dense_tasks.detection import DetectionSample
from icebox.pipeline.evaluation.dense_tasks.segmentation import SegmentationSample
from icebox.pipeline.evaluation.sample import Scorable


class DenseSample(Scorable, Protocol):
    """The counts of n pictures' answers beside the truth, from which metrics are computed."""

    @property
    def item_scores(self) -> np.ndarray:
        """A score (n,) of each picture by itself, 1 at best, to order pictures by."""

    def by_class(self, classes: Sequence[str]) -> list[dict[str, Any]]:
        """The scores of each class, with `class`, `n` and `recall` among them."""

    def columns(self) -> dict[str, Any]:
        """Its columns in a file of predictions: arrays (n,) or (n, m), or lists of n arrays (m,)."""

    @classmethod
    def of_columns(cls, columns: Mapping[str, Any]) -> Self:
        """The sample of the columns of a file. Raises ValueError or LookupError for those of another."""


SAMPLES: Mapping[str, type[Any]] = {"segmentation": SegmentationSample, "detection": DetectionSample}


@dataclass(frozen=True)
class DensePredictions:
    """A head's answers for n pictures of one split: their ids, the task's sample, and what was predicted of each.

    `answers` are columns by name, each a list of n: of a segmentation `mask`, a PNG of class numbers in the picture's
    own size; of a detection `corners` (m·4,), in its own pixels, of the boxes whose labels and scores are counts.
    """

    classes: list[str]
    item_ids: list[str]
    sample: Any
    answers: Mapping[str, Sequence[Any]]

    @property
    def task(self) -> str:
        """segmentation or detection."""
        return str(self.sample.task)

    @property
    def severity(self) -> np.ndarray:
        """How far each picture's own score lies below 1 (n,)."""
        return 1 - np.asarray(self.sample.item_scores)

    def mistakes(self, limit: int) -> list[int]:
        """Positions of the worst pictures, the worst first; equal ones in the items' order."""
        severity = self.severity
        return [int(i) for i in np.argsort(-severity, kind="stable")[:limit] if severity[i] > 0]

    def label_and_prediction(self, i: int) -> tuple[str, str]:
        """Of a picture, whose target is no word: nothing, and its own score."""
        return "", f"{1 - self.severity[i]:.3f}"

    def take(self, rows: np.ndarray) -> "DensePredictions":
        """The pictures at these positions."""
        answers = {name: [column[i] for i in rows.tolist()] for name, column in self.answers.items()}
        return DensePredictions(self.classes, [self.item_ids[i] for i in rows], self.sample.part(rows), answers)


@dataclass(frozen=True)
class ScoredPictures:
    """A split's answers and their scores by metric."""

    predictions: DensePredictions
    scores: dict[str, float]

    @property
    def sample(self) -> Any:
        """The counts that scores are computed from."""
        return self.predictions.sample


def score(predictions: DensePredictions) -> ScoredPictures:
    """The answers with their scores."""
    return ScoredPictures(predictions, metrics.scores(predictions.sample))
