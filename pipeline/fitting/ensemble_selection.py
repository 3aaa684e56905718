"""Choose the members of an ensemble on val, and average their stored predictions: nothing is fitted."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from icebox.pipeline.data.labelled import LabelledSplit
from icebox.pipeline.estimators.ensemble import mean_of_labels, mean_probabilities
from icebox.pipeline.evaluation import metrics
from icebox.pipeline.evaluation.prediction_file import StoredPredictions, StoredSets, StoredSplit
from icebox.pipeline.evaluation.predictions import PLAIN_THRESHOLD, Predictions, ScoredSplit, score_predictions


@dataclass(frozen=True)
class SelectedEnsemble:
    """The members, best on val first; `splits`, the scores of their mean; `val_scores`, those of every candidate, best
    first."""

    members: list[str]
    splits: dict[str, ScoredSplit]
    val_scores: dict[str, dict[str, float]]


def select(candidates: Mapping[str, StoredPredictions | StoredSets], *, choose: str, size: int) -> SelectedEnsemble:
    """Take the `size` heads that are best on val by the metric `choose`; among equals the first candidates.

    candidates: by name, predictions with probabilities of val and the test sets, for the same items and classes. Sets
    of labels are those at the plain threshold.
    """
    first = next(iter(candidates.values()))
    classes, mean = len(first.classes), mean_of_labels if isinstance(first, StoredSets) else mean_probabilities
    val_scores = {}
    for head, stored in candidates.items():
        val = stored.splits["val"]
        val_scores[head] = score_split(val, val.scores.astype(np.float64), classes).scores
    ranked = sorted(candidates, key=lambda head: -metrics.utility(val_scores[head], choose))
    members = ranked[:size]
    splits = {
        name: score_split(
            split,
            mean([candidates[head].splits[name].scores.astype(np.float64) for head in members]),
            classes,
        )
        for name, split in candidates[members[0]].splits.items()
    }
    return SelectedEnsemble(members, splits, {head: val_scores[head] for head in ranked})


def score_split(split: StoredSplit, probabilities: np.ndarray, classes: int) -> ScoredSplit:
    """The items of a split with probabilities (n, k) for them, and their scores."""
    ids = np.array(split.item_ids, object)
    items = LabelledSplit(ids, np.empty((len(ids), 0), np.float32), split.labels, groups=ids)
    if split.labels.ndim == 2:
        probabilities = probabilities.astype(np.float32)  # as `predict_sets` has them
        predicted = probabilities > PLAIN_THRESHOLD[True]
    else:
        probabilities = probabilities / probabilities.sum(axis=1, keepdims=True)  # they were stored as float32
        predicted = probabilities.argmax(axis=1)
    predictions = Predictions(predicted, probabilities, has_probabilities=True)
    return score_predictions(items, predictions, classes)
