"""Closed-form confidence intervals and tests for accuracies, for paired differences and for scores on folds.

Scores without a closed form (macro-F1, errors of a regression, items that come in groups) are in `bootstrap`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from icebox.pipeline.data.multiple_testing import holm

Z_95 = 1.959964  # half width of the central 95 % of a normal distribution, in standard deviations
Z_POWER = 0.841621  # of its lower 80 %: a study that finds a real difference four times of five

Interval = tuple[float, float]


def proportion_interval(share: float, n: int) -> Interval:
    """The 95 % interval of an accuracy, or any share, of n items (Agresti and Coull 1998).

    Its center is that of Wilson's interval, which covers some shares near 0 and 1 in 84 to 92 % only (0.99 of 100
    items in 92); this one is a little wider, and covers all shares of 20 items or more in 93 % or more.
    """
    if n == 0:
        return 0.0, 1.0
    z2 = Z_95**2
    center = (share * n + z2 / 2) / (n + z2)
    half = Z_95 * math.sqrt(center * (1 - center) / (n + z2))
    return max(0.0, center - half), min(1.0, center + half)


def paired_interval(wins: float, losses: float, n: float) -> Interval:
    """The 95 % interval of the difference of two accuracies on the same n items, of which `wins` were right with
    the first only and `losses` with the second only (Bonett and Price 2012: holds where both are few)."""
    gain, loss = (wins + 1) / (n + 2), (losses + 1) / (n + 2)
    half = Z_95 * math.sqrt((gain + loss - (gain - loss) ** 2) / (n + 2))
    return max(-1.0, gain - loss - half), min(1.0, gain - loss + half)


def difference_interval(value: float, ends: Interval, other: float, other_ends: Interval) -> Interval:
    """The 95 % interval of value − other, two scores on different items, from the interval of each.

    Each end is off by the root of the sum of squares of the distances that make it so (the method of variance estimates
    recovery, Zou and Donner 2008; of Wilson's intervals it is Newcombe's tenth, 1998), so that the uncertainty of both
    counts. Whether it holds 0 is a test at 5 %; whether two intervals meet is one at far less.
    """
    lower = math.hypot(value - ends[0], other_ends[1] - other)
    upper = math.hypot(ends[1] - value, other - other_ends[0])
    return value - other - lower, value - other + upper


def mean_interval(values: Sequence[float]) -> Interval:
    """The 95 % interval of the mean of independent values, by Student's t."""
    from scipy import special

    k, mean = len(values), sum(values) / len(values)
    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / (k - 1))
    half = float(special.stdtrit(k - 1, 0.975)) * deviation / math.sqrt(k)
    return mean - half, mean + half


def sign_test(wins: int, losses: int) -> float:
    """The two-sided p-value of the exact McNemar test: the chance of a split at least this uneven by coin tosses."""
    n, fewer = wins + losses, min(wins, losses)
    tail = sum(math.comb(n, i) for i in range(fewer + 1))
    return min(1.0, 2 * tail / (1 << n))


def corrected_t(differences: Sequence[float], test_over_train: float) -> float:
    """The two-sided p-value of a mean difference on k folds, by the corrected t-test (Nadeau and Bengio 2003).

    Folds share most of their train items, so their differences are no independent draws and a plain t-test calls far
    too much significant; the variance is raised by `test_over_train`, the items of a fold over those it was trained on.
    """
    from scipy import special

    k = len(differences)
    mean = sum(differences) / k
    variance = sum((difference - mean) ** 2 for difference in differences) / (k - 1)
    if variance == 0:
        return 1.0 if mean == 0 else 0.0
    t = mean / math.sqrt((1 / k + test_over_train) * variance)
    return float(2 * special.stdtr(k - 1, -abs(t)))


@dataclass(frozen=True)
class FoldComparison:
    """A mean score over folds less the best's, and the p-value of that; `p_holm` with Holm's correction for all that
    are compared. The best was chosen on these folds, so they flatter it: p is rather too small than too large.
    """

    difference: float
    p: float
    p_holm: float


def compare_on_folds(
    scores: Sequence[Sequence[float] | None], items: Sequence[int], *, best: int = 0
) -> list[FoldComparison | None]:
    """Scores on the same k folds of so many `items`, each compared with those at `best` by the corrected t-test.

    None for the best itself, for entries without scores, and for all where there are fewer than two folds.
    """
    reference = scores[best]
    if reference is None or len(items) < 2:
        return [None] * len(scores)
    total = sum(items)
    test_over_train = sum(n / (total - n) for n in items) / len(items)
    comparisons: list[FoldComparison | None] = []
    for i, candidate in enumerate(scores):
        if i == best or candidate is None:
            comparisons.append(None)
            continue
        differences = [one - other for one, other in zip(candidate, reference, strict=True)]
        p = corrected_t(differences, test_over_train)
        comparisons.append(FoldComparison(sum(differences) / len(differences), p, p))
    adjusted = iter(holm([each.p for each in comparisons if each]))
    return [each and replace(each, p_holm=next(adjusted)) for each in comparisons]


def items_needed(wins: int, losses: int, n: int) -> int | None:
    """The number of test items that would tell two heads apart four times of five, if they differ as they seem to on
    these n (Connor 1987, for McNemar's test); None where they don't differ at all."""
    gain = abs(wins - losses) / n
    if gain == 0:
        return None
    discordant = (wins + losses) / n
    root = Z_95 * math.sqrt(discordant) + Z_POWER * math.sqrt(discordant - gain**2)
    return math.ceil((root / gain) ** 2)


def ranks(values: list[float | None]) -> list[str]:
    """`1`, `2=`, `2=`, `4` for values that stand best first; equal ones share a rank, and `–` is for none."""
    marks = []
    for value in values:
        first = values.index(value) + 1
        marks.append("–" if value is None else f"{first}=" if values.count(value) > 1 else str(first))
    return marks
