"""Coverage and size on test of a head's conformal sets, which are calibrated on its predictions for val."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from icebox.features.errors import IceboxError
from icebox.pipeline.comparison import statistics
from icebox.pipeline.comparison.leaderboard import LeaderboardEntry
from icebox.pipeline.comparison.statistics import Interval
from icebox.pipeline.evaluation import conformal, prediction_file
from icebox.pipeline.evaluation.conformal import COVERAGE
from icebox.pipeline.evaluation.prediction_file import StoredPredictions
from icebox.pipeline.project import paths

ALL = "all"


@dataclass(frozen=True)
class SetScore:
    """Of n test items the share whose sets hold their class, its 95 % interval, and the mean number of classes in a
    set."""

    n: int
    coverage: float
    interval: Interval
    size: float


@dataclass(frozen=True)
class SetScores:
    """Scores by class, and of `all`: `split` with one threshold for all items, `by_class` with one for each class.

    `doubts`: sentences on a val that is too small. `missing`: why there are no sets.
    """

    asked: float
    split: dict[str, SetScore]
    by_class: dict[str, SetScore]
    doubts: list[str]
    missing: str = ""


def of_entry(entry: LeaderboardEntry, groups: Mapping[str, str], *, asked: float = COVERAGE) -> SetScores | None:
    """The scores of the sets of an entry whose predictions are on this machine; None of other tasks."""
    stored = prediction_file.read(paths.predictions(entry.input_name, entry.head))
    if not isinstance(stored, StoredPredictions) or not stored.classes:
        return None
    test, doubts = stored.splits["test"], list[str]()
    scored = []
    ties = conformal.ties_of(test.item_ids)
    units = np.unique([groups.get(item_id) or f"\0{item_id}" for item_id in test.item_ids], return_inverse=True)[1]
    for by_class in (False, True):
        try:
            sets = conformal.calibrate(stored, entry.details, coverage=asked, by_class=by_class)
        except IceboxError as reason:
            return SetScores(asked, {}, {}, [], missing=str(reason))
        inside = sets.sets(test.scores, ties)
        held, sizes = inside[np.arange(len(inside)), test.labels], inside.sum(axis=1)
        parts = {ALL: np.ones(len(held), bool)}
        parts |= {name: test.labels == number for number, name in enumerate(stored.classes)}
        scored.append({name: score(held[part], sizes[part], units[part]) for name, part in parts.items() if part.any()})
        doubts += sets.doubts()
    return SetScores(asked, scored[0], scored[1], doubts)


def score(held: np.ndarray, sizes: np.ndarray, units: np.ndarray) -> SetScore:
    """The score of some items (n,); of their units the number is the least that is known to be independent."""
    coverage = float(held.mean())
    interval = statistics.proportion_interval(coverage, len(np.unique(units)))
    return SetScore(len(held), coverage, interval, float(sizes.mean()))
