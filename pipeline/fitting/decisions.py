"""Decisions chosen on val: an offset for each class's score, so that what is decided comes near to a stated aim.

Letters: n items, k classes, m candidates.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from icebox.features.errors import IceboxError, suggestion
from icebox.pipeline.config.decide import Decide
from icebox.pipeline.data.labelled import LabelledData
from icebox.pipeline.estimators.decision import OffsetHead, ThresholdHead, decide, levels
from icebox.pipeline.evaluation.predictions import (
    PLAIN_THRESHOLD,
    Predictions,
    ScoredSplit,
    score_head,
    score_predictions,
)

CANDIDATES_MAX = 1000  # thresholds that are tried of one class: the quantiles of all that differ
FOLDS = 5  # of val, on which offsets must gain that were chosen on the others
SWEEPS_MAX = 20  # over all classes; two or three are the rule
BESIDE = "-argmax"  # of the name of a test's scores without these decisions
SHORTFALL = 1e6  # how much a recall that is too small by 1 outweighs accuracy


@dataclass(frozen=True)
class Aim:
    """The aim to maximize on n items: the mean of `utility` (k, k) of actual and predicted class, macro-F1 instead, and
    before both the recalls (k,) that classes must have, 0 where they must have none."""

    utility: np.ndarray
    f1_macro: bool
    recalls: np.ndarray

    def of(self, hits: np.ndarray, predicted: np.ndarray, counts: np.ndarray, utility: np.ndarray) -> np.ndarray:
        """The value (m,) of right and of all predictions (m, k), items (k,) by class, and sums of utility (m,)."""
        value: np.ndarray = utility / counts.sum()
        if self.f1_macro:
            total = counts + predicted
            value = (2 * hits / np.maximum(total, 1)).sum(axis=1) / np.maximum((total > 0).sum(axis=1), 1)
        shortfall = np.maximum(self.recalls - hits / np.maximum(counts, 1), 0) * (counts > 0)
        value -= SHORTFALL * shortfall.sum(axis=1)
        return value


def decided_head(head: Any, data: LabelledData, wanted: Decide) -> OffsetHead:
    """The fitted head with offsets chosen on val, which it must not have been fitted on.

    Raises IceboxError without val, for unknown classes, and where val has no such decisions.
    """
    if data.val is None:
        raise IceboxError(f"decide: {wanted}: expected items in val to choose by, found none")
    answers = score_head(head, data.val, data).predictions
    return OffsetHead(head, choose_offsets(answers, data.val.labels, wanted, data.classes, data.val.groups))


def decided_tests(tests: Mapping[str, ScoredSplit], offsets: np.ndarray) -> dict[str, ScoredSplit]:
    """Tests scored by the largest score, with these offsets instead; those that stand beside stay."""
    return {name: scored if name.endswith(BESIDE) else with_offsets(scored, offsets) for name, scored in tests.items()}


def with_offsets(scored: ScoredSplit, offsets: np.ndarray) -> ScoredSplit:
    """A split's scores where offsets (k,) decide."""
    answers = scored.predictions
    predicted = decide(answers.scores, offsets, has_probabilities=answers.has_probabilities)
    return score_predictions(scored.split, replace(answers, predicted=predicted), len(offsets))


def undecided_tests(head: Any, tests: Mapping[str, ScoredSplit], data: LabelledData) -> dict[str, ScoredSplit]:
    """The scores of tests by the largest score, as NAME-argmax, of a head that decides otherwise; else none.

    Raises IceboxError where the dataset has a split of that name.
    """
    if not isinstance(head, OffsetHead):
        return {}
    beside = {f"{name}{BESIDE}": scored.split for name, scored in tests.items()}
    for name in beside.keys() & tests.keys():
        raise IceboxError(f"split {name}: this name is kept for scores without `decide`; give it another")
    return {name: score_head(head.head, split, data) for name, split in beside.items()}


def threshold_head(
    head: Any, scores: np.ndarray, labels: np.ndarray, wanted: Decide, classes: Sequence[str]
) -> ThresholdHead:
    """The fitted head with the thresholds that are best for scores (n, k) of items that it was not fitted on, whose
    sets of labels are (n, k) of 0 and 1."""
    plain = PLAIN_THRESHOLD[hasattr(head, "predict_proba")]
    return ThresholdHead(head, best_thresholds(scores, labels, wanted, classes, plain=plain))


def best_thresholds(
    scores: np.ndarray, labels: np.ndarray, wanted: Decide, classes: Sequence[str], *, plain: float
) -> np.ndarray:
    """The threshold of each label (k,) that is best for scores (n, k) of items whose sets are (n, k) of 0 and 1: by F1,
    or the highest that has the recall `wanted` of it. Raises IceboxError for unknown labels, and for a recall of one
    that no item has."""
    pairs = zip(scores.T, labels.T.astype(bool), strict=True)
    thresholds = np.array([best_threshold(column, having, plain=plain) for column, having in pairs])
    for name, recall in (wanted["recall"] if isinstance(wanted, dict) else {}).items():
        number = number_of(name, classes, "recall")
        having = labels[:, number].astype(bool)
        if not having.any():
            raise IceboxError(f"decide: recall: expected items with '{name}' to choose by, found none")
        thresholds[number] = threshold_of_recall(scores[:, number], having, recall)
    return thresholds


def threshold_of_recall(scores: np.ndarray, having: np.ndarray, recall: float) -> float:
    """The highest threshold of scores (n,) above which this share of the items lies that have the label (n,) bool,
    halfway to the next lower score."""
    of_label = np.sort(scores[having].astype(np.float64))[::-1]
    last = of_label[int(np.ceil(recall * len(of_label) - 1e-9)) - 1]
    lower = scores[scores < last]
    return float(min((last + lower.max()) / 2 if len(lower) else last - 1, np.nextafter(last, -np.inf)))


def with_thresholds(scored: ScoredSplit, thresholds: np.ndarray) -> ScoredSplit:
    """A split's scores where an item has the labels whose scores are above thresholds (k,)."""
    answers = scored.predictions
    return score_predictions(
        scored.split, replace(answers, predicted=answers.scores.astype(np.float32) > thresholds), len(thresholds)
    )


def best_threshold(scores: np.ndarray, having: np.ndarray, *, plain: float) -> float:
    """The threshold of scores (n,) above which F1 is largest, halfway between two scores; of equals the nearest to
    `plain`, which it also is where no item has the label (n,) bool."""
    if not having.any():
        return plain
    order = np.argsort(-scores, kind="stable")
    ordered, hits = scores[order].astype(np.float64), np.cumsum(having[order])
    last = np.flatnonzero(np.append(np.diff(ordered) != 0, True))  # of items of one score
    below = np.append(ordered[last[1:]], ordered[-1] - 1)
    f1 = 2 * hits[last] / (last + 1 + having.sum())
    best = np.flatnonzero(f1 >= f1.max() - 1e-12)
    lowest, highest = below[best], np.nextafter(ordered[last][best], -np.inf)
    as_good = (lowest <= plain) & (plain <= highest)
    cuts = np.where(as_good, plain, np.minimum((lowest + highest) / 2, highest))
    return float(cuts[np.abs(cuts - plain).argmin()])


def choose_offsets(
    answers: Predictions, labels: np.ndarray, wanted: Decide, classes: Sequence[str], groups: np.ndarray | None = None
) -> np.ndarray:
    """Offsets (k,) under which answers for n items come nearest to the aim `wanted`; of equals those nearest to 0.

    Many offsets chosen on few items fit their chance. So what is to be maximized must also be higher on folds of the
    items' groups (n,) whose offsets were chosen on the other folds, or else nothing is moved; recalls are had on val.
    """
    k, counts = len(classes), np.bincount(labels, minlength=len(classes))
    aim = aim_of(wanted, classes, counts)
    for i in np.flatnonzero(aim.recalls).tolist():
        if not counts[i]:
            raise IceboxError(f"decide: recall: expected items of '{classes[i]}' in val to choose by, found none")
    scores = levels(answers.scores, has_probabilities=answers.has_probabilities)
    offsets = best_offsets(scores, labels, aim)
    if not aim.recalls.any() and groups is not None and not holds_on_folds(scores, labels, groups, aim):
        return np.zeros(k)
    predicted = (scores + offsets).argmax(axis=1)
    recalls = np.bincount(labels[predicted == labels], minlength=k) / np.maximum(counts, 1)
    if (recalls < aim.recalls).any():
        reached = ", ".join(f"{classes[i]} {recalls[i]:.3f}" for i in np.flatnonzero(aim.recalls).tolist())
        raise IceboxError(f"decide: recall: can't be had on val for all of these classes at once, only {reached}")
    return offsets


def best_offsets(scores: np.ndarray, labels: np.ndarray, aim: Aim) -> np.ndarray:
    """The offsets (k,) of scores (n, k) with the highest value of the aim, class by class in turn until none gains."""
    k = scores.shape[1]
    counts, offsets, value = np.bincount(labels, minlength=k), np.zeros(k), -np.inf
    for _ in range(SWEEPS_MAX):
        before = value
        for number in range(k):
            offsets[number], value = best_offset(number, scores, offsets, labels, counts, aim)
        if value <= before + 1e-12:
            break
    centered: np.ndarray = offsets - offsets.mean()
    return centered


def holds_on_folds(scores: np.ndarray, labels: np.ndarray, groups: np.ndarray, aim: Aim) -> bool:
    """Whether offsets gain on items of groups (n,) that they were not chosen on; True of a single group."""
    names, first, units = np.unique(groups, return_index=True, return_inverse=True)
    if len(names) < 2:
        return True
    fold_of_unit = np.empty(len(names), np.int64)
    fold_of_unit[np.lexsort((names, labels[first]))] = np.arange(len(names)) % FOLDS  # each class in all folds
    folds, decided = fold_of_unit[units], scores.argmax(axis=1)
    for fold in range(min(FOLDS, len(names))):
        held_out = folds == fold
        offsets = best_offsets(scores[~held_out], labels[~held_out], aim)
        decided[held_out] = (scores[held_out] + offsets).argmax(axis=1)
    return value_of(labels, decided, aim) > value_of(labels, scores.argmax(axis=1), aim) + 1e-12


def value_of(labels: np.ndarray, predicted: np.ndarray, aim: Aim) -> float:
    """The value of the aim for predictions (n,)."""
    k = len(aim.recalls)
    hits, counts = (np.bincount(each, minlength=k) for each in (labels[labels == predicted], predicted))
    utility = np.array([aim.utility[labels, predicted].sum()])
    return float(aim.of(hits[None], counts[None], np.bincount(labels, minlength=k), utility)[0])


def aim_of(wanted: Decide, classes: Sequence[str], counts: np.ndarray) -> Aim:
    """The aim in numbers of classes, of which val has `counts` (k,) items. Raises IceboxError for unknown classes."""
    k = len(classes)
    utility, recalls = np.eye(k), np.zeros(k)
    if wanted == "balanced_accuracy":
        utility = np.eye(k) * (counts.sum() / np.maximum(counts, 1) / k)[:, None]
    elif isinstance(wanted, dict) and "recall" in wanted:
        for name, recall in wanted["recall"].items():
            recalls[number_of(name, classes, "recall")] = recall
    elif isinstance(wanted, dict):
        utility = np.eye(k) - 1  # a mistake costs 1 where nothing else is said
        for name, row in wanted["costs"].items():
            for other, cost in row.items():
                utility[number_of(name, classes, "costs"), number_of(other, classes, "costs")] = -cost
    return Aim(utility, wanted == "f1_macro", recalls)


def number_of(name: str, classes: Sequence[str], aim: str) -> int:
    """The number of a class. Raises IceboxError for a name that is none."""
    if name not in classes:
        raise IceboxError(f"decide: {aim}: no class named '{name}'; {suggestion(name, list(classes))}")
    return list(classes).index(name)


def best_offset(
    number: int, scores: np.ndarray, offsets: np.ndarray, labels: np.ndarray, counts: np.ndarray, aim: Aim
) -> tuple[float, float]:
    """(the best offset of one class while the others (k,) stay, the aim's value at it); of equals the nearest to now's.

    An item of scores (n, k) goes to the class as soon as its offset exceeds the lead of the best of the others.
    """
    shifted = scores + offsets
    shifted[:, number] = -np.inf
    others = shifted.argmax(axis=1)
    leads = shifted[np.arange(len(labels)), others] - scores[:, number]
    candidates = thresholds(leads, now=float(offsets[number]))
    # the items that go to the class between one candidate and the next
    steps, m, k = np.searchsorted(candidates, leads, side="right"), len(candidates), len(counts)
    gained, lost, predicted, utility = np.zeros((m + 1, k)), np.zeros((m + 1, k)), np.zeros((m + 1, k)), np.zeros(m + 1)
    right, missed = labels == number, labels == others
    np.add.at(gained, (steps[right], labels[right]), 1)
    np.add.at(lost, (steps[missed], labels[missed]), 1)
    np.add.at(predicted, (steps, others), -1)
    np.add.at(predicted, (steps, number), 1)
    np.add.at(utility, steps, aim.utility[labels, number] - aim.utility[labels, others])
    hits = np.bincount(labels[missed], minlength=k) + np.cumsum(gained - lost, axis=0)[:m]
    values = aim.of(
        hits,
        np.bincount(others, minlength=k) + np.cumsum(predicted, axis=0)[:m],
        counts,
        aim.utility[labels, others].sum() + np.cumsum(utility)[:m],
    )
    best = np.flatnonzero(values >= values.max() - 1e-12)
    chosen = best[np.abs(candidates[best] - offsets[number]).argmin()]
    return float(candidates[chosen]), float(values[chosen])


def thresholds(leads: np.ndarray, *, now: float) -> np.ndarray:
    """Offsets worth trying, in order: `now`, one between each two leads (n,) that differ, one on either side of all."""
    distinct = np.unique(leads[np.isfinite(leads)])
    if not len(distinct):
        return np.array([now])
    between = (distinct[1:] + distinct[:-1]) / 2
    if len(between) > CANDIDATES_MAX:
        between = between[np.linspace(0, len(between) - 1, CANDIDATES_MAX).round().astype(int)]
    return np.unique(np.concatenate([[distinct[0] - 1], between, [distinct[-1] + 1], [now]]))
