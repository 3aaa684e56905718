"""A classifier two-sample test (Lopez-Paz and Oquab 2017): whether two sets of features come from one place.

Letters: n items, m items of the other set, d features.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

ITEMS_MAX = 1000  # of each set: enough to tell what matters, in less than a second
UNITS_MIN = 20  # items or groups of each set, of which a test can tell anything
CERTAIN = 0.01  # of p, below which a difference is told
RIDGE = 1.0  # of the penalty, per feature: all weights together then weigh as much as the items


@dataclass(frozen=True)
class Separation:
    """The share of pairs, an item of one set and one of the other, that a classifier tells apart (0.5: by chance) on
    items that it has not learnt from, and the p-value of that under one place; `n` items of each set at most."""

    auc: float
    p: float
    n: int

    @property
    def is_certain(self) -> bool:
        """Whether chance alone would tell the sets so well apart in one of a hundred such tests at most."""
        return self.p < CERTAIN

    def sentence(self, items: str) -> str:
        """`Test lies elsewhere than train: …`, of the items that are called so."""
        p = "p < 0.001" if self.p < 0.001 else f"p = {self.p:.3f}"
        if not self.is_certain:
            return f"{items} can't be told from train by features (AUC {self.auc:.2f}, {p})."
        return (
            f"{items} lies elsewhere than train: of an item of each, a linear classifier tells by features alone which "
            f"is which in {self.auc:.0%} of pairs ({p})."
        )


def separation(
    train: np.ndarray,
    target: np.ndarray,
    train_groups: np.ndarray | Sequence[str],
    target_groups: np.ndarray | Sequence[str],
    *,
    seed: int = 0,
) -> Separation | None:
    """The separation of features (n, d) of train and (m, d) of a target, whose groups (n,), (m,) stay together; None of
    too few items.

    Twice, a linear classifier learns on half of the groups of each set and judges the other half, where a group's score
    is the mean of its items'; the rank test of these (Mann and Whitney) holds whatever was learnt. Of the two p-values
    the smaller counts, doubled.
    """
    from scipy.stats import mannwhitneyu

    random = np.random.default_rng(seed)
    rows = [sampled(groups, random) for groups in (train_groups, target_groups)]
    units = [
        unit_numbers(np.asarray(groups)[kept]) for groups, kept in zip((train_groups, target_groups), rows, strict=True)
    ]
    if min(int(each.max(initial=-1)) + 1 for each in units) < UNITS_MIN:
        return None
    sets = [features[kept].astype(np.float32) for features, kept in zip((train, target), rows, strict=True)]
    halves = [random.permutation(int(each.max()) + 1) % 2 for each in units]  # (units,): the half of each
    aucs, p_values = [], []
    for judged in (0, 1):
        in_half = [half[of_item] == judged for half, of_item in zip(halves, units, strict=True)]
        weights = direction(*(features[~rows] for features, rows in zip(sets, in_half, strict=True)))
        scores = [
            group_means(features[rows] @ weights, of_item[rows])
            for features, of_item, rows in zip(sets, units, in_half, strict=True)
        ]
        result = mannwhitneyu(scores[1], scores[0], alternative="greater")
        aucs.append(float(result.statistic) / (len(scores[0]) * len(scores[1])))
        p_values.append(float(result.pvalue))
    return Separation(float(np.mean(aucs)), min(1.0, 2 * min(p_values)), max(map(len, sets)))


def sampled(groups: np.ndarray | Sequence[str], random: np.random.Generator) -> np.ndarray:
    """Positions of at most ITEMS_MAX items, in order."""
    n = len(groups)
    return np.sort(random.choice(n, ITEMS_MAX, replace=False)) if n > ITEMS_MAX else np.arange(n)


def unit_numbers(groups: np.ndarray) -> np.ndarray:
    """The number (n,) of each item's group, from 0."""
    numbers: np.ndarray = np.unique(groups, return_inverse=True)[1]
    return numbers


def direction(train: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The weights (d,) by which features of the target score higher than those of train: ridge regression of -1 and 1
    on standardized features."""
    from sklearn.linear_model import Ridge

    features = np.concatenate([train, target])
    mean, deviation = features.mean(axis=0), features.std(axis=0)
    deviation = np.where(deviation > 0, deviation, 1.0)
    sides = np.repeat([-1.0, 1.0], [len(train), len(target)])
    weights = np.repeat([1 / len(train), 1 / len(target)], [len(train), len(target)]) * len(sides) / 2
    fitted = Ridge(alpha=RIDGE * features.shape[1]).fit((features - mean) / deviation, sides, sample_weight=weights)
    scaled: np.ndarray = fitted.coef_ / deviation
    return scaled


def group_means(scores: np.ndarray, units: np.ndarray) -> np.ndarray:
    """The mean score of each unit that has items, of scores and unit numbers (n,)."""
    counts = np.bincount(units)
    means: np.ndarray = np.bincount(units, weights=scores)[counts > 0] / counts[counts > 0]
    return means
