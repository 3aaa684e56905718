"""Texts of about one length pass a network together, so that little is padded."""

from collections.abc import Sequence


def token_budget_batches(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Positions of texts, shortest first, in batches whose padded size (texts × longest) is at most `budget` tokens.

    A text longer than the budget passes alone.
    """
    batches: list[list[int]] = [[]]
    for row in sorted(range(len(lengths)), key=lambda row: lengths[row]):
        if batches[-1] and (len(batches[-1]) + 1) * lengths[row] > budget:
            batches.append([])
        batches[-1].append(row)
    return batches
