"""A head on a store from beginning to end: its setting chosen, fitted as it is used, scored on what it never saw."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from icebox.features.errors import IceboxError
from icebox.pipeline.config.schema import Fit
from icebox.pipeline.data.class_weights import SampleWeighter
from icebox.pipeline.data.labelled import LabelledData
from icebox.pipeline.evaluation.predictions import ScoredSplit, score_head
from icebox.pipeline.fitting import calibration, refit, search
from icebox.pipeline.fitting.head_factory import Maker, Setting
from icebox.pipeline.fitting.refit import Refitted
from icebox.pipeline.fitting.search import Found


@dataclass(frozen=True)
class Seeded:
    """The chosen setting under one seed: on val, unless that was learnt from, and on each test set."""

    fitted: Refitted
    val: dict[str, float] | None
    tests: dict[str, ScoredSplit]
    predict_s: float


@dataclass(frozen=True)
class Learnt:
    """How the setting was chosen; the chosen one under each seed, the first of which is kept; and val as its choice saw
    it, where val chose."""

    found: Found
    seeds: list[Seeded]
    val: ScoredSplit | None


def learn(made: Maker, settings: Sequence[Setting], data: LabelledData, fit: Fit, *, weigh: SampleWeighter) -> Learnt:
    """Choose on val or by folds, refit, calibrate, and score once on the test sets."""
    found = search.search(made, settings, data, fit, weigh=weigh)
    heads = refit.refit(made, found, data, fit, weigh=weigh)
    val = score_head(found.tried[0].head, data.val, data) if found.chosen_on == "val" and data.val else None
    return Learnt(found, [seeded(each, data, fit, val is not None) for each in heads], val)


def seeded(fitted: Refitted, data: LabelledData, fit: Fit, val_chose: bool) -> Seeded:
    """Score one head."""
    unseen = data.val is not None and val_chose and fit.refit == "train"
    val = score_head(fitted.head, data.val, data).scores if unseen and data.val else None
    if fit.calibrate != "none":
        if data.val is None:
            raise IceboxError(f"calibrate: {fit.calibrate}: expected items in val to learn from, found none")
        fitted = Refitted(
            fitted.seed, calibration.calibrated(fitted.head, data.val, fit.calibrate), fitted.fit_s, fitted.converged
        )
    started_s = time.perf_counter()
    tests = {split: score_head(fitted.head, part, data) for split, part in data.tests.items()}
    return Seeded(fitted, val, tests, time.perf_counter() - started_s)
