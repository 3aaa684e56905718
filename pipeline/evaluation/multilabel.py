"""Sets of labels and predictions of them as metrics take them, and the metrics of sets.

Letters: n items, b draws, k labels.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from icebox.features.manifest.validation import Task


@dataclass(frozen=True)
class LabelSetSample:
    """n items: `labels` and `predicted` (n, k) bool say which labels each has, `scores` (n, k) how likely a head finds
    them. `weights` (b, n) float32: how often each of b draws holds an item; scores of a sample are then (b,).
    """

    labels: np.ndarray
    predicted: np.ndarray
    scores: np.ndarray
    weights: np.ndarray | None = None
    _rankings: dict[int, tuple[np.ndarray, ...]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def task(self) -> Task:
        """Multi-label classification."""
        return "multilabel"

    @property
    def has_probabilities(self) -> bool:
        """Whether metrics of probabilities are defined: there are none, all go by the order of scores or by answers."""
        return False

    def __len__(self) -> int:
        return len(self.labels)

    def reweighted(self, weights: np.ndarray) -> "LabelSetSample":
        """A sample of these items under weights (b, n)."""
        return replace(self, weights=weights)

    def part(self, items: np.ndarray) -> "LabelSetSample":
        """The items at these positions, each once."""
        return LabelSetSample(self.labels[items], self.predicted[items], self.scores[items])

    def differs(self, other: "LabelSetSample") -> np.ndarray:
        """Whether two heads' answers differ (n,) bool: for all items or none, since ranks are among all."""
        same = np.array_equal(self.predicted, other.predicted) and np.array_equal(self.scores, other.scores)
        return np.full(len(self), not same)

    def joined(self, other: "LabelSetSample") -> "LabelSetSample":
        """These items, each once, and behind them those of `other`.

        Scores become ranks within each sample, label by label: one head's margins and another's probabilities have no
        common scale, on which answers could be exchanged.
        """
        from scipy.stats import rankdata  # takes a second to import

        return LabelSetSample(
            np.concatenate([self.labels, other.labels]),
            np.concatenate([self.predicted, other.predicted]),
            np.concatenate([rankdata(each.scores, axis=0) / max(1, len(each)) for each in (self, other)]),
        )

    def require_finite(self) -> None:
        """Raise ValueError, as scikit-learn does, for scores that are no finite numbers."""
        if not np.isfinite(self.scores).all():
            raise ValueError("Predictions contain NaN or infinity.")

    def mean(self, values: np.ndarray) -> Any:
        """The mean of one value an item (n,)."""
        if self.weights is None:
            return values.mean()
        return self.weights @ values.astype(np.float32) / self.weights.sum(axis=1)

    @property
    def right(self) -> np.ndarray:
        """Whether each predicted set is the true one (n,) bool."""
        exact: np.ndarray = (self.labels == self.predicted).all(axis=1)
        return exact

    def counts(self, chosen: np.ndarray) -> np.ndarray:
        """The number of items with each label (k,), or (b, k), of those chosen (n, k) bool."""
        if self.weights is None:
            return np.asarray(chosen.sum(axis=0))
        return np.asarray(self.weights @ chosen.astype(np.float32))

    def ranking(self, label: int) -> tuple[np.ndarray, ...]:
        """Of one label: the items from the highest score on (n,), whether these have it (n,), and the positions of the
        last of each group of equal scores that holds one which has it. Shared by all draws."""
        if label not in self._rankings:
            scores = self.scores[:, label]
            order = np.argsort(-scores, kind="stable")
            having, ends = self.labels[order, label], np.append(np.diff(scores[order]) != 0, True)
            last = np.flatnonzero(ends)
            first_not_before = np.searchsorted(last, np.flatnonzero(having))
            self._rankings[label] = order, having, last[np.unique(first_not_before)]
        return self._rankings[label]

    def by_class(self, classes: Sequence[str]) -> list[dict[str, Any]]:
        """Items, precision, recall, F1 and average precision of each label; None where it has no items, or was never
        predicted."""
        hits, having = self.counts(self.labels & self.predicted), self.counts(self.labels)
        counted = zip(classes, hits, having, self.counts(self.predicted), average_precisions(self)[0], strict=True)
        return [
            {
                "class": name,
                "n": int(n),
                "precision": float(hit / predicted) if predicted else None,
                "recall": float(hit / n) if n else None,
                "f1": float(2 * hit / (n + predicted)) if n + predicted else None,
                "ap": float(precision) if n else None,
            }
            for name, hit, n, predicted, precision in counted
        ]

    def constants(self) -> list["LabelSetSample"]:
        """The answers that are the same for all items: the commonest set, and the j commonest labels for each j. Their
        scores are the labels' shares, which rank labels as well as is possible without looking."""
        shares = self.labels.mean(axis=0)
        sets, counts = np.unique(self.labels, axis=0, return_counts=True)
        answers = [sets[counts.argmax()]]
        order = np.argsort(-shares, kind="stable")
        answers += [np.isin(np.arange(len(shares)), order[: j + 1]) for j in range(len(shares))]
        scores = np.broadcast_to(shares, self.labels.shape)
        return [LabelSetSample(self.labels, np.broadcast_to(each, self.labels.shape), scores) for each in answers]


def average_precisions(sample: LabelSetSample) -> np.ndarray:
    """The average precision (b, k) of each label, as scikit-learn's: the precision at each item that has it, those of
    equal score together; 0 where no item has it. b is 1 without weights."""
    n, k = sample.labels.shape
    weights = np.ones((1, n)) if sample.weights is None else sample.weights
    precisions = np.zeros((len(weights), k))
    for label in range(k):
        order, having, ends = sample.ranking(label)
        if not len(ends):
            continue
        ordered = weights[:, order]
        items = np.cumsum(ordered, axis=1)[:, ends]
        hits = np.cumsum(ordered * having.astype(ordered.dtype), axis=1)[:, ends]
        gains = np.diff(hits, axis=1, prepend=0).astype(np.float64)
        total = hits[:, -1]
        sums = (gains * hits / np.maximum(items, 1e-9)).sum(axis=1)
        precisions[:, label] = np.where(total > 0, sums / np.maximum(total, 1e-9), 0.0)
    return precisions


def mean_average_precision(sample: LabelSetSample) -> Any:
    """The mean average precision of the labels that any item has."""
    present = np.atleast_2d(sample.counts(sample.labels)) > 0
    means = average_precisions(sample).sum(axis=1) / np.maximum(present.sum(axis=1), 1)
    return means if sample.weights is not None else means[0]


def f1_macro(sample: LabelSetSample) -> Any:
    """The mean F1 of the labels that any item has or any prediction."""
    hits = sample.counts(sample.labels & sample.predicted)
    counts = sample.counts(sample.labels) + sample.counts(sample.predicted)
    return (2 * hits / np.maximum(counts, 1)).sum(axis=-1) / np.maximum((counts > 0).sum(axis=-1), 1)


def f1_micro(sample: LabelSetSample) -> Any:
    """F1 over all pairs of an item and a label."""
    hits = sample.counts(sample.labels & sample.predicted).sum(axis=-1)
    counts = (sample.counts(sample.labels) + sample.counts(sample.predicted)).sum(axis=-1)
    return 2 * hits / np.maximum(counts, 1)


def ranking_losses(sample: LabelSetSample) -> np.ndarray:
    """Of each item (n,) the share of pairs of a label that it has and one that it lacks whose scores stand the
    wrong way round, or are equal, as scikit-learn counts; 0 where there is no such pair."""
    scores, labels = sample.scores, sample.labels
    wrong = np.zeros(len(labels))
    for label in range(labels.shape[1]):
        above = (scores >= scores[:, label : label + 1]) & ~labels
        wrong += above.sum(axis=1) * labels[:, label]
    having = labels.sum(axis=1)
    losses: np.ndarray = wrong / np.maximum(having * (labels.shape[1] - having), 1)
    return losses


def ranking_loss(sample: LabelSetSample) -> Any:
    """The mean of `ranking_losses`."""
    return sample.mean(ranking_losses(sample))


def exact_match(sample: LabelSetSample) -> Any:
    """The share of items whose whole set is right."""
    return sample.mean(sample.right)
