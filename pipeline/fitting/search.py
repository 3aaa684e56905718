"""Every setting of a head, fitted on train and judged on val or by folds; the best one wins."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import joblib
import numpy as np
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from icebox.features import fingerprint
from icebox.features.errors import IceboxError
from icebox.pipeline.config.schema import Fit
from icebox.pipeline.data.class_weights import SampleWeighter
from icebox.pipeline.data.labelled import LabelledData, LabelledSplit
from icebox.pipeline.estimators import base
from icebox.pipeline.evaluation import metrics
from icebox.pipeline.evaluation.predictions import score_head
from icebox.pipeline.fitting import convergence, path_fitting, successive_halving
from icebox.pipeline.fitting import cross_validation as folds
from icebox.pipeline.fitting.head_factory import Maker, Setting

FOLDS = 5  # where there is no val and no number of folds is given
Pair = tuple[LabelledSplit, LabelledSplit]  # what is fitted on, what is judged on


@dataclass(frozen=True)
class Tried:
    """The setting at `position` on one pair: its scores, seconds, and whether it converged (None: it has no such end).

    Without scores where the head can't be fitted or asked on so few items (more neighbours than items): `failed` says
    why. `stopped`: the parameters with which a fit without val stops where this one did. `head` is kept of the best
    alone, since some hold all the features that they were given.
    """

    position: int
    scores: dict[str, float]
    fit_s: float
    converged: bool | None
    stopped: dict[str, Any]
    head: Any = None
    failed: str = ""


class NothingFits(IceboxError):
    """Not one setting of a head could be fitted."""


@dataclass(frozen=True)
class Found:
    """The winner: its setting, the scores that chose it and by which `measure`, and the table of all that were tried.

    `tried` has it on each pair: on val, where its `head` is kept, or on each fold; `folds` tells folds of these items
    from others.
    """

    setting: Setting
    scores: dict[str, float]
    measure: str
    chosen_on: str
    tried: list[Tried]
    table: list[dict[str, Any]]
    folds: str = ""


def search(made: Maker, settings: Sequence[Setting], data: LabelledData, fit: Fit, *, weigh: SampleWeighter) -> Found:
    """Try the settings as `fit` says; among equals the first wins.

    A setting that can't be fitted is passed over. Raises NothingFits where none can, and IceboxError where there is
    neither val nor enough items for folds.
    """
    pairs, chosen_on = pairs_of(data, fit)
    left, table, worth = list(range(len(settings))), dict[int, dict[str, Any]](), dict[int, float]()
    for keep, share in successive_halving.rounds(len(settings)) if "halving" in fit.search else [(len(settings), 1.0)]:
        left = sorted(sorted(left, key=lambda i: -worth.get(i, 0))[:keep])
        cut = [(successive_halving.share_of(on, share, task=data.task, seed=fit.seed), judged) for on, judged in pairs]
        tried = try_all(made, {i: settings[i] for i in left}, cut, data, fit, weigh=weigh)
        for i in left:
            mine = [each for each in tried if each.position == i]
            failed = next((each.failed for each in mine if each.failed), "")
            scores: dict[str, Any] = {"failed": failed} if failed else mean_of(mine)
            worth[i] = -math.inf if failed else metrics.utility(scores, fit.choose)
            table[i] = settings[i] | ({"share": round(share, 4)} if "halving" in fit.search else {})
            table[i] |= {"fit_s": round(sum(each.fit_s for each in mine), 3), "converged": all_of(mine), **scores}
            if len(mine) > 1 and not failed:
                table[i]["by_fold"] = [each.scores[metrics.choosing_metric(each.scores, fit.choose)] for each in mine]
    best = max(left, key=lambda i: (worth[i], -i))
    if worth[best] == -math.inf:
        raise NothingFits(f"no setting can be fitted on {len(pairs[0][0]):,} items: {table[best]['failed']}")
    won = [each for each in tried if each.position == best]
    scores = mean_of(won)
    measure = metrics.choosing_metric(scores, fit.choose)
    same = fingerprint.of_settings([judged.item_ids.tolist() for _, judged in pairs]) if len(pairs) > 1 else ""
    return Found(settings[best], scores, measure, chosen_on, won, [table[i] for i in range(len(settings))], same)


def pairs_of(data: LabelledData, fit: Fit) -> tuple[list[Pair], str]:
    """What settings are compared on, and its name: val, or folds where there is none or folds were asked for."""
    if data.val is not None and fit.folds is None:
        return [(data.train, data.val)], "val"
    pool, name = (data.train_and_val, "train+val") if fit.refit == "train+val" and data.val else (data.train, "train")
    pairs = folds.folds(pool, fit.folds or FOLDS, task=data.task, seed=fit.seed)
    return pairs, f"{len(pairs)}-fold in {name}"


def try_all(
    made: Maker,
    settings: dict[int, Setting],
    pairs: Sequence[Pair],
    data: LabelledData,
    fit: Fit,
    *,
    weigh: SampleWeighter,
) -> list[Tried]:
    """Each setting (by its position) on each pair.

    Fits run side by side in threads, which share the features, each on one BLAS thread: two threads each on busy cores
    were 9–19 times slower.
    """
    complaints = convergence.Complaints()

    def try_group(group: list[int], pair: Pair) -> list[Tried]:
        found: list[Tried] = []
        for each in tried_of(made, {i: settings[i] for i in group}, pair, data, fit, weigh, complaints):
            found = best_keeps_its_head([*found, each], fit.choose)
        return found

    positions, build = list(settings), made.under(fit.seed)
    groups = [[positions[i] for i in group] for group in path_fitting.groups(build, list(settings.values()))]
    jobs = [(group, pair) for pair in pairs for group in groups]
    total, side_by_side = len(settings) * len(pairs), min(len(jobs), joblib.cpu_count())
    done: list[Tried] = []
    with threadpool_limits(1), complaints.heard(), tqdm(total=total, desc="fit", unit="fit", disable=None) as bar:
        running = joblib.Parallel(side_by_side, prefer="threads", return_as="generator")
        for found in running(joblib.delayed(try_group)(*job) for job in jobs):
            done = best_keeps_its_head([*done, *found], fit.choose) if len(pairs) == 1 else [*done, *headless(found)]
            bar.update(len(found))
    return done


def tried_of(
    made: Maker,
    settings: dict[int, Setting],
    pair: Pair,
    data: LabelledData,
    fit: Fit,
    weigh: SampleWeighter,
    complaints: convergence.Complaints,
) -> Iterator[Tried]:
    """Settings that are fitted in one go, on one pair."""
    positions, (on, judged) = list(settings), pair
    given = {"sample_weight": weigh(on.labels), "val": (judged.features, judged.labels)}
    left = list(positions)
    try:
        fits = path_fitting.fit(made.under(fit.seed), list(settings.values()), on.features, on.labels, **given)
        for i, head, fit_s in fits:
            converged = convergence.converged(head, complaints.taken())
            scores = score_head(head, judged, data).scores
            stopped = base.refit_parameters(head)
            left.remove(positions[i])
            yield Tried(positions[i], scores, fit_s, converged, stopped, head)
    except ValueError as reason:  # scikit-learn's word for what an estimator can't do with these items
        for position in left:
            yield Tried(position, {}, 0.0, None, {}, failed=str(reason).splitlines()[0])


def best_keeps_its_head(tried: list[Tried], choose: str) -> list[Tried]:
    """The same without the heads of all but the best, the first among equals."""
    fitted = [each for each in tried if not each.failed]
    best = max(fitted, key=lambda each: (metrics.utility(each.scores, choose), -each.position), default=None)
    return [each if each is best else replace(each, head=None) for each in tried]


def headless(tried: list[Tried]) -> list[Tried]:
    """The same without any head: what a fold's is fitted on is not all there is."""
    return [replace(each, head=None) for each in tried]


def mean_of(tried: Sequence[Tried]) -> dict[str, float]:
    """Scores on average over pairs, and `n` in all of them."""
    every = [each.scores for each in tried]
    means = {name: round(float(np.mean([scores[name] for scores in every])), 6) for name in every[0] if name != "n"}
    return {"n": sum(int(scores["n"]) for scores in every), **means}


def all_of(tried: Sequence[Tried]) -> bool | None:
    """Whether the setting converged on every pair; None where it has no such end."""
    said = [each.converged for each in tried if each.converged is not None]
    return all(said) if said else None
