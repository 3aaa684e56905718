"""The few-label curve: a head fitted on some labels of each class, on several draws of items from one store."""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np

from icebox.features.errors import IceboxError
from icebox.pipeline.config.decide import ARGMAX
from icebox.pipeline.config.fit import Fit
from icebox.pipeline.data.class_weights import SampleWeighter
from icebox.pipeline.data.labelled import LabelledData, LabelledSplit, subsample_per_class
from icebox.pipeline.fitting import cross_validation
from icebox.pipeline.fitting.candidates import Candidate
from icebox.pipeline.fitting.final_fit import FitResult, fit_head
from icebox.pipeline.fitting.head_factory import HeadFactory
from icebox.pipeline.fitting.search import DEFAULT_FOLDS, NoCandidateFits

logger = logging.getLogger("icebox")

FEW_LABELS = 5  # of a class: folds of train and val were better by 0.06 to 0.14 with 1 and with 5
Labels = int | str  # of each class, or "all"


def sorted_points(labels_per_class: Labels | Sequence[Labels]) -> list[Labels]:
    """The points of the curve, fewest labels first; the last one is the main result."""
    if isinstance(labels_per_class, int | str):
        return [labels_per_class]
    points = dict.fromkeys(labels_per_class)
    return sorted(points, key=lambda labels: float("inf") if isinstance(labels, str) else labels)


def draw(data: LabelledData, labels: Labels, seed: int) -> LabelledData:
    """The data with so many labels of each class in train and val."""
    return data if isinstance(labels, str) else subsample_per_class(data, labels, seed=seed)


def settled(fit: Fit, data: LabelledData) -> Fit:
    """The way to choose and fit a head on this data: that of `fit`, but where val is as small as train and both are of
    FEW_LABELS a class at the most, by the log loss on folds of both (docs/fitting.md has the figures).

    Whatever `fit` says of val otherwise is kept: folds of its own, a refit, calibration, decisions, alignment.
    """
    if data.task != "classification" or data.val is None or not may_settle(fit):
        return fit
    train, val = (labels_by_class(split) for split in (data.train, data.val))
    if train.max() > FEW_LABELS or val.max() > FEW_LABELS or 2 * val.sum() < train.sum():
        return fit
    try:
        k = cross_validation.largest_k(data.train_and_val, DEFAULT_FOLDS, task=data.task)
    except IceboxError:  # too few for folds
        return fit
    return fit.model_copy(update={"folds": k, "refit": "train+val", "choose": "log_loss"})


def may_settle(fit: Fit) -> bool:
    """Whether `fit` leaves it open how heads on few labels are chosen and fitted."""
    of_val = fit.folds is None and fit.refit == "train" and fit.calibrate == "none"
    return of_val and fit.decide == ARGMAX and fit.adapt == "none" and fit.few_labels == "folds"


def told(points: Sequence[Labels], fit: Fit, way: Fit) -> str:
    """A line on the points that are fitted in another way than `fit` says, `way` being that of the last; "" of none."""
    few = [f"{each}" for each in points[:-1] if isinstance(each, int) and each <= FEW_LABELS and may_settle(fit)]
    few += [str(points[-1])] if way is not fit else []
    if not few:
        return ""
    labels = f"{' and '.join(few)} labels a class" if few != ["all"] else f"{FEW_LABELS} labels a class or fewer"
    return (
        f"with {labels}, and as few in val, settings are chosen by the log loss on folds of train and val, and the "
        "head is fitted on both (few_labels: val has val choose)"
    )


def labels_by_class(split: LabelledSplit) -> np.ndarray:
    """The number of items of each class, however many views of them there are."""
    _, first = np.unique(split.item_ids, return_index=True)
    return np.bincount(split.labels[first].astype(np.int64))


def compute(
    factory: HeadFactory,
    candidates: Sequence[Candidate],
    data: LabelledData,
    points: Sequence[Labels],
    fit: Fit,
    *,
    sample_weighter: SampleWeighter,
    main: FitResult,
) -> list[dict[str, Any]]:
    """One line for each point, with val and test scores of each draw; `main` is the last point's first draw, which was
    fitted before.

    Each draw has its own search, since parameters chosen with more labels would know more than the draw's own labels.
    A draw that no candidate fits (three neighbors of two items) is left out, and a warning says so.
    """
    lines = []
    for labels in points:
        draws = []
        for seed in range(fit.seed, fit.seed + (1 if isinstance(labels, str) else fit.seeds)):
            subset = draw(data, labels, seed)
            one_seed = fit.model_copy(update={"seed": seed, "seeds": 1})
            try:
                result = main
                if not (labels == points[-1] and seed == fit.seed):
                    way = settled(one_seed, subset)
                    result = fit_head(factory, candidates, subset, way, sample_weighter=sample_weighter)
            except NoCandidateFits as reason:
                logger.warning("%s labels a class, draw %d: %s", labels, seed, reason)
                continue
            tests = {name: scored.scores for name, scored in result.seeds[0].tests.items()}
            draws.append({"seed": seed, "val": result.search.scores, **tests})
        lines.append({"labels_per_class": labels, "train_n": len(set(subset.train.item_ids)), "draws": draws})
    return lines
