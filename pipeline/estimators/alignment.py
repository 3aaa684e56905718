"""Alignment of features without labels: those of a target set are moved to where train's lie, as a fitted head expects.

Letters: n items, d features, k classes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.metaestimators import available_if

from icebox.features.errors import IceboxError
from icebox.pipeline.estimators.decision import OffsetHead
from icebox.pipeline.estimators.ensemble import MeanEnsemble

Method = Literal["standardize", "coral"]

UNITS_MIN: dict[Method, int] = {"standardize": 30, "coral": 100}  # items, or groups, that statistics are made of
CORAL_WIDTH_MAX = 2048  # features: a covariance of them has 4 million numbers, and is decomposed in seconds
SMALLEST_SPREAD = 1e-3  # of train's own: a feature that hardly varies in the target is not blown up by more
BLOCK = 8192  # items that are float64 at once


@dataclass(frozen=True)
class Statistics:
    """The mean (d,) of a set's features, and their spread: standard deviations (d,), or a covariance (d, d)."""

    mean: np.ndarray
    spread: np.ndarray


def unit_weights(groups: np.ndarray | Sequence[str]) -> np.ndarray:
    """A weight (n,) for each item, so that every group (n,) counts once: ten pictures of one patient as one."""
    _, numbers, counts = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    weights: np.ndarray = 1.0 / counts[numbers]
    return weights


def require_units(method: Method, groups: np.ndarray | Sequence[str], where: str) -> None:
    """Raise IceboxError where a target's items (n,) by group are too few for statistics that are not mostly chance."""
    units, least = len(np.unique(np.asarray(groups))), UNITS_MIN[method]
    if units < least:
        kind = "items" if units == len(groups) else "groups of items"
        raise IceboxError(
            f"{where}: {method} makes statistics of the target's own items and needs {least} {kind} or more, found "
            f"{units}; give it more, or leave it unaligned (adapt: none)"
        )


def measure(method: Method, features: np.ndarray, weights: np.ndarray) -> Statistics:
    """The statistics of features (n, d) whose items have these weights (n,).

    A covariance is shrunk (Ledoit and Wolf 2004), which fewer items than features need. Raises IceboxError for more
    features than CORAL takes.
    """
    if method == "coral" and features.shape[1] > CORAL_WIDTH_MAX:
        raise IceboxError(
            f"adapt: coral: expected at most {CORAL_WIDTH_MAX:,} features, found {features.shape[1]:,}; take fewer "
            "outputs, or standardize"
        )
    weights = weights / weights.sum()
    blocks = [slice(start, start + BLOCK) for start in range(0, len(features), BLOCK)]
    mean = np.sum([weights[rows] @ features[rows].astype(np.float64) for rows in blocks], axis=0)
    variance = np.sum([weights[rows] @ (features[rows] - mean) ** 2 for rows in blocks], axis=0)
    deviation = np.sqrt(variance)
    if method == "standardize":
        return Statistics(mean, deviation)
    from sklearn.covariance import ledoit_wolf

    unit = np.where(deviation > 0, deviation, 1.0)  # shrunk towards equal variances, which features must have for that
    scaled = (features - mean) / unit * np.sqrt(weights * len(weights))[:, None]
    covariance, _ = ledoit_wolf(scaled, assume_centered=True)
    return Statistics(mean, covariance * unit * unit[:, None])


def alignment_map(source: Statistics, target: Statistics) -> np.ndarray:
    """The factors (d,), or matrix (d, d), that give the target's centered features the source's spread.

    A matrix whitens by the target's covariance and colors by the source's (CORAL, Sun et al. 2016, from the target's
    side), both in units of the source's deviations, on which roots of covariances depend.
    """
    if source.spread.ndim == 1:
        floor = np.maximum(target.spread, SMALLEST_SPREAD * source.spread)
        factors: np.ndarray = source.spread / np.where(floor > 0, floor, 1.0)
        return factors
    unit = np.sqrt(np.diag(source.spread))
    unit = np.where(unit > 0, unit, 1.0)
    whiten = power(target.spread / unit / unit[:, None], -0.5)
    color = power(source.spread / unit / unit[:, None], 0.5)
    matrix: np.ndarray = (whiten @ color) / unit[:, None] * unit
    return matrix


def power(covariance: np.ndarray, exponent: float) -> np.ndarray:
    """A power of a symmetric matrix (d, d) whose eigenvalues are not negative but for rounding."""
    values, vectors = np.linalg.eigh(covariance)
    values = np.maximum(values, 1e-12 * values.max())
    raised: np.ndarray = (vectors * values**exponent) @ vectors.T
    return raised


def align(features: np.ndarray, source: Statistics, target: Statistics) -> np.ndarray:
    """Features (n, d) of the target, float32, with the source's mean and spread."""
    factors = alignment_map(source, target)
    centered = features - target.mean
    moved = centered * factors if factors.ndim == 1 else centered @ factors
    aligned: np.ndarray = (moved + source.mean).astype(np.float32)
    return aligned


def _available_if_head_has(method: str) -> Callable[[Any], Any]:
    """Decorator of a method that an aligned head has only where its head has it."""
    decorator: Callable[[Any], Any] = available_if(lambda self: hasattr(self.head, method))
    return decorator


class AlignedHead(BaseEstimator):
    """A fitted head behind an alignment: its items are taken for some of the set that `target` was measured on.

    `source`: the statistics of train at the shares of the classes that the target is taken to have.
    """

    def __init__(self, head: Any, method: Method, source: Statistics, target: Statistics) -> None:
        self.head = head
        self.method = method
        self.source = source
        self.target = target

    def onto(self, features: np.ndarray, groups: np.ndarray | Sequence[str], where: str) -> "AlignedHead":
        """This head for another target: that of these features (n, d), all of it together.

        Raises IceboxError for too few items.
        """
        require_units(self.method, groups, where)
        return AlignedHead(self.head, self.method, self.source, measure(self.method, features, unit_weights(groups)))

    def _aligned(self, X: Any) -> np.ndarray:
        return align(np.asarray(X), self.source, self.target)

    @property
    def classes_(self) -> np.ndarray:
        """The class numbers (k,)."""
        classes: np.ndarray = self.head.classes_
        return classes

    def predict(self, X: Any) -> np.ndarray:
        """Class numbers, or values, (n,)."""
        predicted: np.ndarray = self.head.predict(self._aligned(X))
        return predicted

    @_available_if_head_has("predict_proba")
    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities (n, k)."""
        probabilities: np.ndarray = self.head.predict_proba(self._aligned(X))
        return probabilities

    @_available_if_head_has("decision_function")
    def decision_function(self, X: Any) -> np.ndarray:
        """Margins (n, k); of two classes (n,)."""
        margins: np.ndarray = self.head.decision_function(self._aligned(X))
        return margins


def is_aligned(head: Any) -> bool:
    """Whether a head is aligned, or the members of an ensemble are."""
    return change_aligned(head, lambda aligned: None) is not head


def change_aligned(head: Any, change: Callable[[AlignedHead], Any]) -> Any:
    """The head with `change` made to each aligned head in it: itself, or the members of an ensemble."""
    match head:
        case AlignedHead():
            return change(head)
        case MeanEnsemble() if any(map(is_aligned, head.heads)):
            return MeanEnsemble([change_aligned(each, change) for each in head.heads], head.classes)
        case OffsetHead() if is_aligned(head.head):
            return OffsetHead(change_aligned(head.head, change), head.offsets)
    return head
