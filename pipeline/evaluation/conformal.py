"""Conformal sets: of each item the classes that it may have, so that a stated share of sets hold the true one.

Calibrated on val, whose items the head was not fitted on (Vovk, Gammerman and Shafer 2005; a threshold of the score of
the true class, Sadinle, Lei and Wasserman 2019). The promise is of items like those of val, over draws of val.

Letters: n items, m items of val, k classes.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from icebox.features.errors import IceboxError
from icebox.pipeline.evaluation.prediction_file import StoredPictures, StoredPredictions, StoredSets

COVERAGE = 0.9  # that the report shows
SHORTFALL_MAX = 0.1  # of the coverage that a val set by bad luck gives, below the one asked for: more is told
SHOWN = 5  # classes in a sentence


@dataclass(frozen=True)
class SetPredictor:
    """Sets of classes for scores (n, k): a class is in where too few items of val score lower for their own class.

    `references`: for each of k classes the scores of val that it is compared with, in order: those of all items (split
    conformal), or those of the class (class-conditional), where there are any.
    """

    classes: list[str]
    coverage: float
    by_class: bool
    references: list[np.ndarray]

    def sets(self, scores: np.ndarray, ties: np.ndarray) -> np.ndarray:
        """Whether each class is in each item's set (n, k) bool. `ties` (n,) in 0..1 decide between equal scores: they
        make the coverage exact where a head gives few different scores, as trees and neighbours do."""
        inside = np.empty(scores.shape, bool)
        for number, reference in enumerate(self.references):
            column = scores[:, number].astype(np.float32)  # as predictions are kept
            lower = np.searchsorted(reference, column, side="left")
            equal = np.searchsorted(reference, column, side="right") - lower + 1  # and the item itself
            p_values = (lower + ties * equal) / (len(reference) + 1)
            inside[:, number] = (p_values > 1 - self.coverage) if len(reference) else True
        return inside

    def doubts(self) -> Iterator[str]:
        """A sentence for each way in which val is too small for these sets."""
        named = zip(self.classes, self.references, strict=True) if self.by_class else [("all", self.references[0])]
        sizes = {name: len(reference) for name, reference in named}
        if none := [name for name, m in sizes.items() if not m]:
            yield f"val has no item of {listed(none)}: such a class is in every set"
        few = {name: m for name, m in sizes.items() if m and self.least(m) < self.coverage - SHORTFALL_MAX}
        if few:
            each = listed([f"{name} ({m:,})" for name, m in few.items()])
            yield (
                f"few items of val to calibrate sets by: {each}; by bad luck these give as little as "
                f"{self.least(min(few.values())):.2f} of true classes, not {self.coverage:g}"
            )

    def least(self, m: int) -> float:
        """The coverage that m items of val give at the least, but for 2.5 % of such val sets."""
        from scipy.special import betaincinv

        return float(betaincinv((m + 1) * self.coverage, (m + 1) * (1 - self.coverage), 0.025))


def listed(names: Sequence[str]) -> str:
    """The first few names."""
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else "")


def ties_of(keys: Iterable[str]) -> np.ndarray:
    """A number in 0..1 for each key, the same each time: by the key's hash."""
    words = [int.from_bytes(hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()[:6]) for key in keys]
    return np.array(words, np.float64) / (1 << 48)


def calibrate(
    stored: StoredPredictions | StoredSets | StoredPictures,
    details: Mapping[str, Any],
    *,
    coverage: float,
    by_class: bool,
) -> SetPredictor:
    """Sets calibrated on a head's predictions for val. `details`: how the head was fitted.

    Raises IceboxError where there are no classes, and without predictions for a val that the head has not seen.
    """
    if not isinstance(stored, StoredPredictions) or not stored.classes:
        raise IceboxError("coverage: sets are of an item's classes, which only classification has")
    if details.get("refit", "train") != "train":
        raise IceboxError(
            f"coverage: sets are calibrated on val, which this head was fitted on (refit: {details['refit']}); "
            "take a head with refit: train"
        )
    if (method := details.get("calibrate", "none")) != "none":
        raise IceboxError(
            f"coverage: sets are calibrated on val, which calibrate: {method} has used up; "
            "take a head with calibrate: none (sets need no calibrated probabilities)"
        )
    if "val" not in stored.splits:
        raise IceboxError(
            "coverage: sets are calibrated on val, and this head has no predictions for it (folds chose its settings); "
            "take a head that was chosen on val"
        )
    return of_scores(stored.classes, own_scores(stored), coverage=coverage, by_class=by_class)


def own_scores(stored: StoredPredictions) -> list[np.ndarray]:
    """For each class the scores that the items of val have for their own class, float32, in order."""
    val = stored.splits["val"]
    of_labels = val.scores[np.arange(len(val.labels)), val.labels].astype(np.float32)
    return [np.sort(of_labels[val.labels == number]) for number in range(len(stored.classes))]


def of_scores(classes: list[str], by_label: Sequence[np.ndarray], *, coverage: float, by_class: bool) -> SetPredictor:
    """Sets calibrated on the scores (m,) of val for its items' own class, by class. Raises IceboxError for a share
    that is none."""
    if not 0 < coverage < 1:
        raise IceboxError(f"coverage: expected a share between 0 and 1, found {coverage:g}")
    every = np.sort(np.concatenate(by_label))
    return SetPredictor(classes, coverage, by_class, list(by_label) if by_class else [every] * len(classes))
