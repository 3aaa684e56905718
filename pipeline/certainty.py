"""How sure is a score? Plain statistics of counts, so that no reader takes chance for skill."""

import math

Z_95 = 1.959964  # half width of the central 95 % of a normal distribution, in standard deviations


def interval(accuracy: float, n: int) -> tuple[float, float]:
    """The 95 % interval of an accuracy seen on n items (Wilson 1927: stays within 0..1, holds near both ends)."""
    if n == 0:
        return 0.0, 1.0
    z2 = Z_95**2
    centre = (accuracy + z2 / (2 * n)) / (1 + z2 / n)
    half = Z_95 / (1 + z2 / n) * math.sqrt(accuracy * (1 - accuracy) / n + z2 / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def sign_test(wins: int, losses: int) -> float:
    """The chance of a split at least this uneven if each of the items were a coin toss (exact McNemar, two-sided)."""
    n, fewer = wins + losses, min(wins, losses)
    tail = sum(math.comb(n, i) for i in range(fewer + 1))
    return min(1.0, 2 * tail / (1 << n))


def ranks(values: list[float | None]) -> list[str]:
    """`1`, `2=`, `2=`, `4` for values that stand best first; equal ones share a rank, and `–` is for none."""
    marks = []
    for value in values:
        first = values.index(value) + 1
        marks.append("–" if value is None else f"{first}=" if values.count(value) > 1 else str(first))
    return marks
