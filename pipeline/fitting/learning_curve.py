"""The few-label curve: a head learnt anew from some labels of each class, several draws from the same features."""

from collections.abc import Sequence
from typing import Any

from icebox.pipeline.config.schema import Fit
from icebox.pipeline.data.class_weights import SampleWeighter
from icebox.pipeline.data.labelled import LabelledData, subsample_per_class
from icebox.pipeline.fitting.fit_head import Learnt, learn
from icebox.pipeline.fitting.head_factory import Maker, Setting
from icebox.pipeline.fitting.search import NothingFits

Labels = int | str  # of each class, or "all"


def in_order(given: Labels | Sequence[Labels]) -> list[Labels]:
    """The points of the curve, fewest labels first; the last one is the main result."""
    points = [given] if isinstance(given, int | str) else list(dict.fromkeys(given))
    return sorted(points, key=lambda labels: float("inf") if isinstance(labels, str) else labels)


def drawn(data: LabelledData, labels: Labels, seed: int) -> LabelledData:
    """What a head may learn from with so many labels of each class."""
    return data if isinstance(labels, str) else subsample_per_class(data, labels, seed=seed)


def curve(
    made: Maker,
    settings: Sequence[Setting],
    data: LabelledData,
    points: Sequence[Labels],
    fit: Fit,
    *,
    weigh: SampleWeighter,
    main: Learnt,
) -> list[dict[str, Any]]:
    """A line a point with val and test scores of each draw; `main` is the last point's first draw, learnt before.

    Each draw has its own search, since one with more labels would know more than these. A draw that nothing fits (three
    neighbours of two items) is left out and said.
    """
    lines = []
    for labels in points:
        draws = []
        for seed in range(fit.seed, fit.seed + (1 if isinstance(labels, str) else fit.seeds)):
            here = drawn(data, labels, seed)
            again = labels == points[-1] and seed == fit.seed
            once = fit.model_copy(update={"seed": seed, "seeds": 1})
            try:
                learnt = main if again else learn(made, settings, here, once, weigh=weigh)
            except NothingFits as reason:
                print(f"{labels} labels a class, draw {seed}: {reason}")
                continue
            tests = {split: scored.scores for split, scored in learnt.seeds[0].tests.items()}
            draws.append({"seed": seed, "val": learnt.found.scores, **tests})
        lines.append({"labels_per_class": labels, "train_n": len(set(here.train.item_ids)), "draws": draws})
    return lines
