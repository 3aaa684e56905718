"""Estimates of the classes' shares in a set without labels, from a head's answers for it.

Both take it that only the shares differ from what the head learnt: a NORMAL there looks as a NORMAL of train.

Letters: n items, k classes.
"""

from typing import NamedTuple

import numpy as np
from scipy.optimize import nnls

STEPS_MAX, ENOUGH = 1000, 1e-6  # of expectation and maximization; how little the last one changed
CLASSES_MAX = 50  # with more, no intervals are drawn
DRAWS = 200


class AnsweredItems(NamedTuple):
    """n items: a head's answers (n, k), probabilities or 1 for the class that is predicted; the numbers of their units
    (n,); and of val their class numbers (n,)."""

    answers: np.ndarray
    units: np.ndarray
    labels: np.ndarray | None = None

    @property
    def weights(self) -> np.ndarray:
        """A weight (n,) for each item, so that a unit counts once."""
        weights: np.ndarray = (1.0 / np.bincount(self.units))[self.units]
        return weights


def by_expectation(probabilities: np.ndarray, prior: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The shares (k,) of greatest likelihood by probabilities (n, k) of a head whose classes have the shares `prior`
    (k,), of items of these weights (n,) (EM of Saerens et al. 2002)."""
    shares: np.ndarray = np.maximum(prior, 1e-12)
    prior = shares
    weights = weights / weights.sum()
    for _ in range(STEPS_MAX):
        posterior = probabilities * (shares / prior)
        posterior /= np.maximum(posterior.sum(axis=1, keepdims=True), 1e-300)
        before, shares = shares, weights @ posterior
        if np.abs(shares - before).max() < ENOUGH:
            break
    return shares


def by_confusion(confusion: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """The shares (k,) that would give this mean answer (k,), where a class's own mean answer is a column of `confusion`
    (k, k) (black box shift estimation, Lipton et al. 2018)."""
    solution, _ = nnls(confusion, mean)
    shares: np.ndarray = solution / max(solution.sum(), 1e-300)
    return shares


def confusion_of(labels: np.ndarray, answers: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The mean answer for each class's items (k, k), a column a class, by answers (n, k); of no items, itself."""
    sums = answers.T @ (np.eye(answers.shape[1])[labels] * weights[:, None])
    sums += np.eye(len(sums)) * (sums.sum(axis=0) == 0)
    columns: np.ndarray = sums / sums.sum(axis=0)
    return columns


def shares_of(numbers: np.ndarray, weights: np.ndarray, k: int) -> np.ndarray:
    """The shares (k,) of class numbers (n,) of these weights (n,)."""
    shares: np.ndarray = np.bincount(numbers, weights, minlength=k) / weights.sum()
    return shares


def estimate(target: AnsweredItems, val: AnsweredItems | None, prior: np.ndarray) -> np.ndarray:
    """The shares of the classes (k,) in the target, a unit counted once: by confusion on val or, without val, by
    expectation."""
    return drawn_estimate(target, val, prior, target.weights, None if val is None else val.weights)


def drawn_estimate(
    target: AnsweredItems, val: AnsweredItems | None, prior: np.ndarray, weights: np.ndarray, of_val: np.ndarray | None
) -> np.ndarray:
    """The shares by items of these weights (n,)."""
    if val is None or val.labels is None or of_val is None:
        return by_expectation(target.answers, prior, weights)
    mean = weights @ target.answers / weights.sum()
    return by_confusion(confusion_of(val.labels, val.answers, of_val), mean)


def interval(
    target: AnsweredItems, val: AnsweredItems | None, prior: np.ndarray, *, seed: int = 0
) -> tuple[np.ndarray, np.ndarray] | None:
    """The ends (k,) of the 95 % intervals of `estimate`, by draws of the units of both; None of many classes."""
    if len(prior) > CLASSES_MAX:
        return None
    random = np.random.default_rng(seed)
    drawn = [
        drawn_estimate(target, val, prior, draw(target.units, random), None if val is None else draw(val.units, random))
        for _ in range(DRAWS)
    ]
    low, high = np.quantile(drawn, (0.025, 0.975), axis=0)
    return low, high


def draw(units: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The weight (n,) of each item in a draw of units (n,) with replacement, where a unit counts once."""
    u = int(units.max()) + 1
    times, sizes = np.bincount(random.integers(0, u, u), minlength=u), np.bincount(units, minlength=u)
    weights: np.ndarray = (times / sizes)[units]
    return weights
