"""Batches of texts of similar length, so that little is padded."""

from collections.abc import Sequence


def token_budget_batches(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Positions of texts, shortest first, in batches of at most `budget` tokens once padded (texts × the longest).

    A text longer than the budget is a batch of its own. `lengths` are in tokens.
    """
    batches: list[list[int]] = [[]]
    for row in sorted(range(len(lengths)), key=lambda row: lengths[row]):
        if batches[-1] and (len(batches[-1]) + 1) * lengths[row] > budget:
            batches.append([])
        batches[-1].append(row)
    return batches
