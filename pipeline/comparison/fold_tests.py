"""Scores on folds compared: each to the best of them, on the same folds, by Nadeau and Bengio's test."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from icebox.pipeline.comparison import statistics


@dataclass(frozen=True)
class OnFolds:
    """A mean score over folds less the best's, and the p-value of that; `p_holm` with Holm's correction for all that
    are compared. The best was chosen on these folds, so they flatter it: p is rather too small than too large.
    """

    difference: float
    p: float
    p_holm: float


def compared(scores: Sequence[Sequence[float] | None], items: Sequence[int], *, best: int = 0) -> list[OnFolds | None]:
    """Each one's scores on k folds of so many `items`, or None, against those at `best`, which has None itself."""
    reference = scores[best]
    if reference is None or len(items) < 2:
        return [None] * len(scores)
    total = sum(items)
    test_over_train = sum(n / (total - n) for n in items) / len(items)
    found: list[OnFolds | None] = []
    for i, mine in enumerate(scores):
        if i == best or mine is None:
            found.append(None)
            continue
        differences = [one - other for one, other in zip(mine, reference, strict=True)]
        p = statistics.corrected_t(differences, test_over_train)
        found.append(OnFolds(sum(differences) / len(differences), p, p))
    adjusted = iter(statistics.holm([each.p for each in found if each]))
    return [each and replace(each, p_holm=next(adjusted)) for each in found]
