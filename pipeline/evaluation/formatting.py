"""Scores as text: four decimals and, of scores that are small, as those of targets of size 1e-8, significant digits."""

import math
from collections.abc import Mapping

from icebox.pipeline.evaluation import metrics

LARGE = 1e9  # from here on a power of ten is easier to read


def number(value: float | None, digits: int = 4, *, like: float | None = None, sign: str = "") -> str:
    """A score to so many decimals, or significant digits where it (or that which it is a part of, `like`) is small
    or huge."""
    if value is None:
        return "–"
    size = abs(value if like is None else like)
    if LARGE <= size < math.inf:
        return f"{value:{sign}.{digits}e}"
    if size >= 0.1 or size == 0 or not math.isfinite(size):
        return f"{value:{sign}.{digits}f}"
    if size >= 1e-3:
        return f"{value:{sign}.{digits - 1 - math.floor(math.log10(size))}f}"
    return f"{value:{sign}.{digits - 1}e}"


def signed(difference: float | None, digits: int = 4, *, like: float | None) -> str:
    """A difference of scores that are about as large as `like`."""
    return "" if difference is None else number(difference, digits, like=like, sign="+")


def interval(low: float | None, high: float | None) -> str:
    """`0.982 … 0.999`."""
    return "" if low is None or high is None else f"{number(low, 3, like=high)} … {number(high, 3)}"


def difference_interval(low: float | None, high: float | None, *, like: float | None) -> str:
    """`-0.012 … +0.003`, of scores that are about as large as `like`."""
    return "" if low is None or high is None else f"{signed(low, 3, like=like)} … {signed(high, 3, like=like)}"


def scores_line(scores: Mapping[str, float], choose: str) -> str:
    """`accuracy 0.9912, f1_macro 0.9903`; first the metric that chose."""
    first = metrics.choosing_metric(scores, choose)
    ordered = {first: scores[first]} | {name: value for name, value in scores.items() if name != "n"}
    return ", ".join(f"{name} {number(value)}" for name, value in ordered.items())
