"""The chosen setting as it is used: fitted once more on all that may be learnt from, and under several seeds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import joblib
import numpy as np
from threadpoolctl import threadpool_limits

from icebox.pipeline.config.schema import Fit
from icebox.pipeline.data.class_weights import SampleWeighter
from icebox.pipeline.data.labelled import LabelledData, LabelledSplit
from icebox.pipeline.fitting import convergence, path_fitting
from icebox.pipeline.fitting.head_factory import Maker
from icebox.pipeline.fitting.search import Found, Tried


@dataclass(frozen=True)
class Refitted:
    """A head under one seed, the seconds its fit took, and whether it converged."""

    seed: int
    head: Any
    fit_s: float
    converged: bool | None


def refit(made: Maker, found: Found, data: LabelledData, fit: Fit, *, weigh: SampleWeighter) -> list[Refitted]:
    """The winner under `fit.seed`, and under the seeds after it where the head has randomness.

    On train, with val to stop early by, where val chose; on train and val together with `refit: train+val`; on train
    alone after folds. Without val a head stops where it did when it was chosen.
    """
    on, val = pool(data, found, fit)
    setting = found.setting if val is not None else found.setting | stopped(found.tried)
    seeds = [fit.seed + i for i in range(fit.seeds if made.seeded else 1)]
    ready = found.tried[0] if val is not None else None
    first = [] if ready is None else [Refitted(fit.seed, ready.head, ready.fit_s, ready.converged)]
    complaints = convergence.Complaints()

    def under(seed: int) -> Refitted:
        given = {"sample_weight": weigh(on.labels), "val": val and (val.features, val.labels)}
        ((_, head, fit_s),) = path_fitting.fit(made.under(seed), [setting], on.features, on.labels, **given)
        converged = convergence.converged(head, complaints.taken())
        return Refitted(seed, head, fit_s, converged)

    rest = seeds[len(first) :]
    with threadpool_limits(1), complaints.heard():
        running = joblib.Parallel(min(len(seeds), joblib.cpu_count()), prefer="threads")
        return first + (running(joblib.delayed(under)(seed) for seed in rest) if rest else [])


def pool(data: LabelledData, found: Found, fit: Fit) -> tuple[LabelledSplit, LabelledSplit | None]:
    """What the final head is fitted on, and the val that it may stop early by."""
    if fit.refit == "train+val":
        return data.train_and_val, None
    return data.train, data.val if found.chosen_on == "val" else None


def stopped(tried: Sequence[Tried]) -> dict[str, Any]:
    """Where the setting stopped early, on average over the pairs: the parameters of a fit without val."""
    means = {name: np.mean([each.stopped[name] for each in tried]) for name in tried[0].stopped}
    return {
        name: round(float(mean)) if isinstance(tried[0].stopped[name], int) else float(mean)
        for name, mean in means.items()
    }
