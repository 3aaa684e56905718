"""How sure is a score? Closed forms for counts and folds, so that no reader takes chance for skill.

What has no closed form (macro-F1, errors of a regression, items that come in groups) is in `resampling`.
"""

import math
from collections.abc import Sequence

Z_95 = 1.959964  # half width of the central 95 % of a normal distribution, in standard deviations
Z_POWER = 0.841621  # of its lower 80 %: a study that finds a real difference four times of five

Interval = tuple[float, float]


def interval(accuracy: float, n: int) -> Interval:
    """The 95 % interval of an accuracy seen on n items (Wilson 1927: stays within 0..1, holds near both ends)."""
    if n == 0:
        return 0.0, 1.0
    z2 = Z_95**2
    centre = (accuracy + z2 / (2 * n)) / (1 + z2 / n)
    half = Z_95 / (1 + z2 / n) * math.sqrt(accuracy * (1 - accuracy) / n + z2 / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def paired_interval(wins: float, losses: float, n: float) -> Interval:
    """The 95 % interval of the difference of two accuracies seen on the same n items, of which `wins` were right with
    the first only and `losses` with the second only (Bonett and Price 2012: holds where both are few)."""
    gain, loss = (wins + 1) / (n + 2), (losses + 1) / (n + 2)
    half = Z_95 * math.sqrt((gain + loss - (gain - loss) ** 2) / (n + 2))
    return max(-1.0, gain - loss - half), min(1.0, gain - loss + half)


def sign_test(wins: int, losses: int) -> float:
    """The chance of a split at least this uneven if each of the items were a coin toss (exact McNemar, two-sided)."""
    n, fewer = wins + losses, min(wins, losses)
    tail = sum(math.comb(n, i) for i in range(fewer + 1))
    return min(1.0, 2 * tail / (1 << n))


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values adjusted for there being several (Holm 1979): that any true null falls below 0.05 has a chance of
    5 % at most, whatever hangs together."""
    adjusted, highest, m = [0.0] * len(p_values), 0.0, len(p_values)
    for rank, i in enumerate(sorted(range(m), key=lambda i: p_values[i])):
        highest = max(highest, min(1.0, (m - rank) * p_values[i]))
        adjusted[i] = highest
    return adjusted


def corrected_t(differences: Sequence[float], test_over_train: float) -> float:
    """The two-sided p-value of a mean difference seen on k folds (Nadeau and Bengio 2003).

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


def items_needed(wins: int, losses: int, n: int) -> int | None:
    """How many test items would tell two heads apart four times of five, if they differ as they seem to on these n
    (Connor 1987, for McNemar's test); None where they don't differ at all."""
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
