"""Bootstrap intervals of any score, and permutation tests for paired differences.

Units are drawn: single items, or whole groups where items come in groups (ten pictures of one patient are not ten
independent predictions). All heads are scored on the same draws, so that their differences are paired.

Letters: n items, u units, b draws of a block.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, lru_cache
from statistics import NormalDist
from typing import Any

import numpy as np
from threadpoolctl import ThreadpoolController

from icebox.pipeline.comparison import statistics
from icebox.pipeline.comparison.statistics import Z_95, Interval
from icebox.pipeline.evaluation.metrics import METRICS, Metric
from icebox.pipeline.evaluation.sample import Sample, Scorable

DRAWS = 2000
FLIPS = 9999  # of an item's difference
SWAPS = 3999  # of two heads' answers, whose scores are computed anew each time
BLOCK = 2_000_000  # numbers drawn at once: 16 MB
FEW_UNITS = 10  # below which a bootstrap says little and a closed form, where there is one, holds
LIGHT_KURTOSIS, HEAVY_KURTOSIS = 3.5, 7.5  # about 0; of normal errors it is 3
TINY = 1e-12  # the standard error of what does not vary, but for rounding
SEED = 0  # the same draws each time: equal results give equal bytes


def resample(
    metrics: Sequence[Metric], sample: Scorable, units: np.ndarray, *, draws: int = DRAWS, seed: int = SEED
) -> np.ndarray:
    """Every metric on every draw, (len(metrics), draws). units: (n,) the number of each item's unit, from 0."""
    with blas().limit(limits=1):  # products so small gain nothing from a second thread, and wait for it on busy cores
        drawn = (sample.reweighted(weights) for weights in draw_weights(units, draws, seed))
        blocks = [np.stack([metric.function(each) for metric in metrics]) for each in drawn]
    return np.concatenate(blocks, axis=1)


@cache
def blas() -> ThreadpoolController:
    """The process's BLAS libraries, looked up once: each look-up takes 4 ms, as long as many a bootstrap."""
    return ThreadpoolController()


def units_of(item_ids: Sequence[str], groups: Mapping[str, str]) -> np.ndarray:
    """The number (n,) of each item's unit: its group's, or its own."""
    names = [groups.get(item_id) or f"\0{item_id}" for item_id in item_ids]
    number = {name: i for i, name in enumerate(dict.fromkeys(names))}
    return np.array([number[name] for name in names])


def draw_weights(units: np.ndarray, draws: int, seed: int) -> Iterator[np.ndarray]:
    """Blocks (b, n) of how often each item is in a draw of as many units as there are, with replacement."""
    random, u = np.random.default_rng(seed), int(units.max()) + 1
    ungrouped = u == len(units)
    for left in range(draws, 0, -max(1, BLOCK // u)):
        b = min(left, max(1, BLOCK // u))
        numbers = random.integers(0, u, (b, u)) + u * np.arange(b)[:, None]
        counts = np.bincount(numbers.ravel(), minlength=b * u).reshape(b, u).astype(np.float32)
        yield counts if ungrouped else counts[:, units]


def unit_weights(u: int, draws: int, seed: int) -> Sequence[np.ndarray] | Iterator[np.ndarray]:
    """The blocks of `draw_weights` for units of one item each; those of few units are kept."""
    return few_unit_weights(u, draws, seed) if u * draws <= BLOCK else draw_weights(np.arange(u), draws, seed)


@lru_cache(maxsize=4)
def few_unit_weights(u: int, draws: int, seed: int) -> list[np.ndarray]:
    """All of the draws."""
    return list(draw_weights(np.arange(u), draws, seed))


def score_interval(metric: Metric, sample: Any, units: np.ndarray, values: np.ndarray | None = None) -> Interval:
    """The interval of one metric, of which `values` (b,) are those on the draws where they are known already."""
    u = int(units.max()) + 1
    if metric.interval == "bootstrap-t":
        return rmse_interval(sample.errors, units)
    if metric.interval == "proportion" and few_units(sample.right, ~sample.right, units):
        # near 0 and 1 the draws hardly vary; of its items a unit is the least that is known to be independent
        return statistics.proportion_interval(float(sample.right.mean()), u)
    return percentile_interval(resample([metric], sample, units)[0] if values is None else values, u)


def few_units(items: np.ndarray, others: np.ndarray, units: np.ndarray) -> bool:
    """Whether one of two kinds of items (n,) bool is in too few units for a bootstrap."""
    return min(len(np.unique(units[kind])) for kind in (items, others)) < FEW_UNITS


def percentile_interval(values: np.ndarray, units: int) -> Interval:
    """The expanded percentile interval of a score's values on the draws (b,) of so many units: the central 95 %, and as
    much more as makes up for few units, since draws from a sample vary less than samples do (Hesterberg 2015, The
    American Statistician 69).
    """
    tail = NormalDist().cdf(-math.sqrt(units / (units - 1)) * t_95(units - 1)) if units > 1 else 0.0
    low, high = np.quantile(values, (tail, 1 - tail))
    return float(low), float(high)


def rmse_interval(errors: np.ndarray, units: np.ndarray, *, draws: int = DRAWS, seed: int = SEED) -> Interval:
    """The 95 % interval of a root mean squared error; errors, units: (n,).

    Squares are skewed: the few large ones that decide their mean are missing from many a sample, which then looks
    sure of too small a mean. So what is drawn is how far a draw's log mean lies from the sample's in its own standard
    errors (the bootstrap-t, Efron and Tibshirani 1993, chapter 12), and the tails that are cut off are other ones where
    few errors are known (`tails_of_errors`). `percentile_interval` is used only for fewer than FEW_UNITS with
    any error, of which a standard error says little, and which a draw may lack altogether.
    """
    sums, items = np.bincount(units, weights=errors.astype(np.float64) ** 2), np.bincount(units).astype(np.float64)
    u = len(items)
    if np.count_nonzero(sums) < FEW_UNITS:
        sample = Sample(np.zeros(len(errors)), errors)
        return percentile_interval(resample([METRICS["rmse"]], sample, units, draws=draws, seed=seed)[0], u)
    moments = np.stack([sums, items, sums**2, sums * items, items**2], axis=1)  # (u, 5)

    def log_mean(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of draws (b, u): the log of each one's mean square, and the standard error of that (b,), by linearising."""
        total, n, squares, products, counts = (weights @ moments).T
        mean = total / n
        spread = squares / mean**2 - 2 * products / mean + counts
        return np.log(mean), np.sqrt(np.maximum(spread, 0)) / n

    (center,), (error,) = log_mean(np.ones((1, u)))
    with blas().limit(limits=1):
        blocks = [log_mean(weights) for weights in unit_weights(u, draws, seed)]
    shifts = np.concatenate([(means - center) / np.maximum(spreads, TINY) for means, spreads in blocks])
    below, above = tails_of_errors(sums)
    low, high = np.quantile(shifts, (above, 1 - below))
    return float(np.exp((center - high * error) / 2)), float(np.exp((center - low * error) / 2))


def tails_of_errors(squares: np.ndarray) -> tuple[float, float]:
    """The shares of draws that are cut off for the low and for the high end, from the squared errors (u,) of units:
    2.5 % each of many.

    An interval misses the truth where no large error came into the sample: that looks as light-tailed as normal errors
    do, and nothing in it tells which it is. So of few errors with a small kurtosis the high end is far out, and the low
    end nearer by as much; where large errors are there, both ends are as usual. The numbers are set by simulation: 94
    to 97 % are covered of 20 to 400 errors that are uniform, normal, Laplace's, of Student's t with 4 or 5 degrees of
    freedom, or normal with one in ten or twenty three times as large; 92 % of 50 with one in ten four times as large.
    """
    u = len(squares)
    kurtosis = u * float((squares**2).sum()) / float(squares.sum()) ** 2
    light = math.log(HEAVY_KURTOSIS / kurtosis) / math.log(HEAVY_KURTOSIS / LIGHT_KURTOSIS)
    light, few = min(1.0, max(0.0, light)), 50 / u
    below = 0.025 * math.exp((0.75 * light - 0.15 * (1 - light)) * min(few**0.5, few**-0.6))
    return below, 0.025 * math.exp(-2.8 * light * few**0.5)


def t_95(freedom: int) -> float:
    """Half the width of the central 95 % of Student's t: Fisher's series, to 1 % from 3 degrees of freedom on."""
    z = Z_95
    terms = (z, (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96, (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384)
    return math.fsum(term / freedom**power for power, term in enumerate(terms))


def swap_test(
    metric: Metric, sample: Scorable, other: Scorable, units: np.ndarray, *, swaps: int = SWAPS, seed: int = SEED
) -> float:
    """The p-value of a permutation test of two heads' scores on the same items: the chance of a difference at
    least this large if each unit's two answers might as well be the other head's (Noreen 1989; Yeh 2000 for F1).

    For scores that are no mean of items, macro-F1 say; of those `flip_test` is the same, and quicker.
    """
    differing = sample.differs(other)
    if not differing.any():
        return 1.0
    n, swappable, u = len(sample), np.flatnonzero(differing), int(units.max()) + 1
    both = sample.joined(other.part(swappable))

    def difference(swapped: np.ndarray) -> np.ndarray:
        """Of swaps (b, m) bool of the items that differ: the difference of scores (b,)."""
        own = np.ones((len(swapped), len(both)), np.float32)
        own[:, swappable] = ~swapped
        own[:, n:] = swapped
        exchanged = np.ones_like(own)
        exchanged[:, swappable] = swapped
        exchanged[:, n:] = ~swapped
        first, second = (np.asarray(metric.function(both.reweighted(weights))) for weights in (own, exchanged))
        return np.asarray(first.astype(np.float64) - second)

    random, beyond = np.random.default_rng(seed), 0
    with blas().limit(limits=1):
        (observed,) = np.abs(difference(np.zeros((1, len(swappable)), bool)))
        block = max(1, BLOCK // len(both))
        for left in range(swaps, 0, -block):
            swapped = random.integers(0, 2, (min(left, block), u), np.int8).astype(bool)[:, units[differing]]
            beyond += int((np.abs(difference(swapped)) >= observed * (1 - 1e-6)).sum())  # counts are float32
    return (beyond + 1) / (swaps + 1)


def flip_test(differences: np.ndarray, units: np.ndarray, *, flips: int = FLIPS, seed: int = SEED) -> float:
    """The p-value of a sign-flip permutation test: the chance of a sum at least this far from 0 if each unit's
    difference might as well have the other sign. differences: (n,).

    With differences of right predictions (-1, 0, 1) and every item a unit this is McNemar's test, but drawn.
    """
    sums = np.bincount(units, weights=differences)
    sums = sums[sums != 0]
    if len(sums) == 0:
        return 1.0
    random, observed, beyond = np.random.default_rng(seed), abs(sums.sum()), 0
    for left in range(flips, 0, -max(1, BLOCK // len(sums))):
        signs = random.integers(0, 2, (min(left, max(1, BLOCK // len(sums))), len(sums)), np.int8) * 2.0 - 1
        beyond += int((np.abs(signs @ sums) >= observed * (1 - 1e-12)).sum())
    return (beyond + 1) / (flips + 1)
