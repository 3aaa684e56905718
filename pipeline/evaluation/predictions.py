"""What a fitted head says of items, and how good that is."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from icebox.pipeline.data.labelled import LabelledData, LabelledSplit
from icebox.pipeline.data.on_disk import DiskFeatures
from icebox.pipeline.evaluation import metrics
from icebox.pipeline.evaluation.sample import Sample


@dataclass(frozen=True)
class Answers:
    """What a head says of n items: class numbers (n,) and scores (n, k), which are probabilities or else margins.

    Of a regression: values (n,) and no scores (n, 0).
    """

    predicted: np.ndarray
    scores: np.ndarray
    probable: bool


@dataclass(frozen=True)
class Scored:
    """A split, what the head said of it, and how good that was."""

    part: LabelledSplit
    answers: Answers
    scores: dict[str, float]


def scored(head: Any, part: LabelledSplit, data: LabelledData) -> Scored:
    """Ask a head once for all that is written about a split."""
    if data.task == "regression":
        values = np.concatenate([head.predict(block) for block in blocks(part.features)]).astype(np.float64)
        said = Answers(values, np.empty((len(part), 0)), probable=False)
        return judged(part, said, 0)
    pieces = [answers(head, block, len(data.classes)) for block in blocks(part.features)]
    said = Answers(
        np.concatenate([piece.predicted for piece in pieces]),
        np.concatenate([piece.scores for piece in pieces]),
        pieces[0].probable,
    )
    return judged(part, said, len(data.classes))


def judged(part: LabelledSplit, said: Answers, classes: int) -> Scored:
    """A split with what was said of it and how good that is; without classes it is a regression."""
    probabilities = said.scores if said.probable else None
    return Scored(part, said, metrics.scores(Sample(part.labels, said.predicted, classes, probabilities)))


def blocks(features: np.ndarray | DiskFeatures) -> Iterator[np.ndarray]:
    """The features as they are, or those that stay on disk a block at a time."""
    return (features[rows] for rows in features.blocks()) if isinstance(features, DiskFeatures) else iter([features])


def answers(head: Any, features: np.ndarray, classes: int) -> Answers:
    """What a classifier says of features (n, d), one column of scores for each of `classes`."""
    probable = hasattr(head, "predict_proba")
    scores = head.predict_proba(features) if probable else margins(head, features)
    seen = np.asarray(head.classes_)
    if len(seen) < classes:  # a fold of few items may have lacked a class: that one is never its answer
        wide = np.full((len(scores), classes), 0.0 if probable else -np.inf)
        wide[:, seen] = scores
        scores = wide
    if probable:  # some heads compute in float32, and then miss 1 by 1e-7
        scores = scores / scores.sum(axis=1, keepdims=True, dtype=np.float64)
    return Answers(head.predict(features), scores, probable)


def margins(head: Any, features: np.ndarray) -> np.ndarray:
    """(n, k) values of the decision function, one column a class."""
    found: np.ndarray = head.decision_function(features)
    return np.column_stack([-found, found]) if found.ndim == 1 else found
