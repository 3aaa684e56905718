"""The few-label curve: a head fitted on some labels of each class, on several draws of items from one store."""

import logging
from collections.abc import Sequence
from typing import Any

from icebox.pipeline.config.schema import Fit
from icebox.pipeline.data.class_weights import SampleWeighter
from icebox.pipeline.data.labelled import LabelledData, subsample_per_class
from icebox.pipeline.fitting.candidates import Candidate
from icebox.pipeline.fitting.final_fit import FitResult, fit_head
from icebox.pipeline.fitting.head_factory import HeadFactory
from icebox.pipeline.fitting.search import NoCandidateFits

logger = logging.getLogger("icebox")

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
                    result = fit_head(factory, candidates, subset, one_seed, sample_weighter=sample_weighter)
            except NoCandidateFits as reason:
                logger.warning("%s labels a class, draw %d: %s", labels, seed, reason)
                continue
            tests = {name: scored.scores for name, scored in result.seeds[0].tests.items()}
            draws.append({"seed": seed, "val": result.search.scores, **tests})
        lines.append({"labels_per_class": labels, "train_n": len(set(subset.train.item_ids)), "draws": draws})
    return lines
