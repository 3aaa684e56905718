"""Predictions of a fitted head for the items of a split, and their scores."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from icebox.pipeline.data.labelled import LabelledData, LabelledSplit
from icebox.pipeline.data.on_disk import DiskFeatures
from icebox.pipeline.evaluation import metrics
from icebox.pipeline.evaluation.multilabel import LabelSetSample
from icebox.pipeline.evaluation.sample import Sample

PLAIN_THRESHOLD = {True: 0.5, False: 0.0}  # of a label: by whether scores are probabilities


@dataclass(frozen=True)
class Predictions:
    """Of a classifier for n items: class numbers (n,) and `scores` (n, k), which are probabilities or else margins.

    Of a regression: values (n,) and no scores (n, 0). Of sets of labels: which labels (n, k) bool, and a score of each,
    independent of the others.
    """

    predicted: np.ndarray
    scores: np.ndarray
    has_probabilities: bool


@dataclass(frozen=True)
class ScoredSplit:
    """A split, a head's predictions for it, and their scores by metric."""

    split: LabelledSplit
    predictions: Predictions
    scores: dict[str, float]


def score_head(head: Any, split: LabelledSplit, data: LabelledData) -> ScoredSplit:
    """Predict a split once and compute its scores; a block at a time where the features stay on disk."""
    blocks = feature_blocks(split.features)
    if data.task == "regression":
        values = np.concatenate([head.predict(block) for block in blocks]).astype(np.float64)
        return score_predictions(split, Predictions(values, np.empty((len(split), 0)), has_probabilities=False), 0)
    answer = predict_sets if data.task == "multilabel" else partial(predict, classes=len(data.classes))
    pieces = [answer(head, block) for block in blocks]
    predictions = Predictions(
        np.concatenate([piece.predicted for piece in pieces]),
        np.concatenate([piece.scores for piece in pieces]),
        pieces[0].has_probabilities,
    )
    return score_predictions(split, predictions, len(data.classes))


def score_predictions(split: LabelledSplit, predictions: Predictions, classes: int) -> ScoredSplit:
    """A split with its scores; `classes` is 0 for a regression. Raises ValueError for predictions that hold NaN."""
    if np.isnan(predictions.scores).any():  # the largest of margins that are all NaN would be the first class's
        raise ValueError("Predictions contain NaN.")
    return ScoredSplit(split, predictions, metrics.scores(sample_of(split.labels, predictions, classes)))


def sample_of(labels: np.ndarray, predictions: Predictions, classes: int) -> Sample | LabelSetSample:
    """Labels (n,), or sets of them (n, k), and predictions as metrics take them."""
    if labels.ndim == 2:
        return LabelSetSample(labels.astype(bool), predictions.predicted.astype(bool), predictions.scores)
    return Sample(labels, predictions.predicted, classes, predictions.scores if predictions.has_probabilities else None)


def feature_blocks(features: np.ndarray | DiskFeatures) -> Iterator[np.ndarray]:
    """The features in one piece, or a block at a time where they stay on disk."""
    return (features[rows] for rows in features.blocks()) if isinstance(features, DiskFeatures) else iter([features])


def predict(head: Any, features: np.ndarray, classes: int) -> Predictions:
    """A classifier's predictions for features (n, d), with one column of scores for each of `classes`."""
    has_probabilities = hasattr(head, "predict_proba")
    scores = head.predict_proba(features) if has_probabilities else margins(head, features)
    fitted_classes = np.asarray(head.classes_)
    if len(fitted_classes) < classes:  # a fold of few items may have lacked a class: it is never predicted then
        wide = np.full((len(scores), classes), 0.0 if has_probabilities else -np.inf)
        wide[:, fitted_classes] = scores
        scores = wide
    if has_probabilities:  # some heads compute in float32, and then miss 1 by 1e-7
        scores = scores / scores.sum(axis=1, keepdims=True, dtype=np.float64)
    return Predictions(head.predict(features), scores, has_probabilities)


def predict_sets(head: Any, features: np.ndarray) -> Predictions:
    """The sets of labels that a head finds in features (n, d): where a label's score is above its threshold, or else
    above 0.5 of a probability, 0 of a margin."""
    has_probabilities = hasattr(head, "predict_proba")
    scores = head.predict_proba(features) if has_probabilities else head.decision_function(features)
    scores = np.asarray(scores, np.float32)  # as files keep them: orders and thresholds must not hang on later digits
    thresholds = head.thresholds if hasattr(head, "thresholds") else PLAIN_THRESHOLD[has_probabilities]
    return Predictions(scores > thresholds, scores, has_probabilities)


def margins(head: Any, features: np.ndarray) -> np.ndarray:
    """(n, k) values of the decision function, one column a class, also where scikit-learn gives one for two."""
    values: np.ndarray = head.decision_function(features)
    return np.column_stack([-values, values]) if values.ndim == 1 else values
