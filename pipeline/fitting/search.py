"""Search: every candidate is fitted on train and scored on val or by folds; the best one wins."""

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import joblib
import numpy as np
from threadpoolctl import threadpool_limits

from icebox.features import fingerprint
from icebox.features.errors import IceboxError, NotApplicable
from icebox.pipeline.config.fit import Fit
from icebox.pipeline.data.class_weights import SampleWeighter
from icebox.pipeline.data.labelled import LabelledData, LabelledSplit
from icebox.pipeline.estimators import base
from icebox.pipeline.evaluation import metrics
from icebox.pipeline.evaluation.predictions import score_head
from icebox.pipeline.fitting import convergence, cross_validation, on_ray, path_fitting
from icebox.pipeline.fitting.candidates import Candidate, halving_rounds, subsample
from icebox.pipeline.fitting.convergence import ConvergenceWarnings
from icebox.pipeline.fitting.head_factory import HeadFactory
from icebox.pipeline.project import progress

logger = logging.getLogger("icebox")

DEFAULT_FOLDS = 5  # where there is no val and no number of folds is given
Pair = tuple[LabelledSplit, LabelledSplit]  # (to fit on, to score on)


@dataclass(frozen=True)
class Trial:
    """The candidate at `position` on one pair: its scores, seconds, and whether it converged (None: not iterative).

    Without scores where the head can't be fitted or predict on so few items (more neighbors than items): `error` says
    why, `unsuitable` whether the head is not made for such data at all. `refit_parameters`: see
    `base.refit_parameters`. `head` is kept of the best trial only, since some heads hold all the features that they
    were fitted on.
    """

    position: int
    scores: dict[str, float]
    fit_s: float
    converged: bool | None
    refit_parameters: dict[str, Any]
    head: Any = None
    error: str = ""
    unsuitable: bool = False


class NoCandidateFits(IceboxError):
    """Not one candidate of a head could be fitted."""


@dataclass(frozen=True)
class SearchResult:
    """The winner's parameters, the scores that chose it and by which `metric`, and the table of all candidates.

    `trials` are the winner's on each pair: on val, where its `head` is kept, or on each fold; `folds_id` tells folds of
    these items from others, "" without folds. `fewer_folds`: why they are fewer than were asked for, or "".
    """

    parameters: Candidate
    scores: dict[str, float]
    metric: str
    chosen_on: str
    trials: list[Trial]
    table: list[dict[str, Any]]
    folds_id: str = ""
    fewer_folds: str = ""


def search(
    factory: HeadFactory,
    candidates: Sequence[Candidate],
    data: LabelledData,
    fit: Fit,
    *,
    sample_weighter: SampleWeighter,
) -> SearchResult:
    """Compare the candidates as `fit` says; among equals the first wins.

    A candidate that can't be fitted is passed over. Raises NoCandidateFits where none can, NotApplicable where
    the head is not made for such data, and IceboxError where there is neither val nor enough items for folds.
    """
    pairs, chosen_on = comparison_pairs(data, fit)
    remaining = list(range(len(candidates)))
    table: dict[int, dict[str, Any]] = {}
    utilities: dict[int, float] = {}
    halving = "halving" in fit.search
    for count, share in halving_rounds(len(candidates)) if halving else [(len(candidates), 1.0)]:
        remaining = sorted(sorted(remaining, key=lambda i: -utilities.get(i, 0))[:count])
        shared = [(subsample(on, share, task=data.task, seed=fit.seed), scored_on) for on, scored_on in pairs]
        trials = run_trials(
            factory, {i: candidates[i] for i in remaining}, shared, data, fit, sample_weighter=sample_weighter
        )
        for i in remaining:
            of_candidate = [trial for trial in trials if trial.position == i]
            error = next((trial.error for trial in of_candidate if trial.error), "")
            scores: dict[str, Any] = {"failed": error} if error else mean_scores(of_candidate)
            utilities[i] = -math.inf if error else metrics.utility(scores, fit.choose)
            table[i] = candidates[i] | ({"share": round(share, 4)} if halving else {})
            fit_s = round(sum(trial.fit_s for trial in of_candidate), 3)
            table[i] |= {"fit_s": fit_s, "converged": all_converged(of_candidate), **scores}
            if len(of_candidate) > 1 and not error:
                table[i]["by_fold"] = [
                    trial.scores[metrics.choosing_metric(trial.scores, fit.choose)] for trial in of_candidate
                ]
    best = max(remaining, key=lambda i: (utilities[i], -i))
    if utilities[best] == -math.inf:
        if all(trial.unsuitable for trial in trials):
            raise NotApplicable(table[best]["failed"])
        raise NoCandidateFits(f"no setting can be fitted on {len(pairs[0][0]):,} items: {table[best]['failed']}")
    winning_trials = [trial for trial in trials if trial.position == best]
    scores = mean_scores(winning_trials)
    folds_id = ""
    if len(pairs) > 1:
        folds_id = fingerprint.of_settings([scored_on.item_ids.tolist() for _, scored_on in pairs])
    return SearchResult(
        candidates[best],
        scores,
        metrics.choosing_metric(scores, fit.choose),
        chosen_on,
        winning_trials,
        [table[i] for i in range(len(candidates))],
        folds_id,
        fewer_folds(pairs, data, fit),
    )


def comparison_pairs(data: LabelledData, fit: Fit) -> tuple[list[Pair], str]:
    """The pairs on which candidates are compared, and their name: val, or folds where there is none or `fit.folds` is
    set."""
    if data.val is not None and fit.folds is None:
        return [(data.train, data.val)], "val"
    with_val = fit.refit == "train+val" and data.val
    split, name = (data.train_and_val, "train+val") if with_val else (data.train, "train")
    pairs = cross_validation.folds(split, fit.folds or DEFAULT_FOLDS, task=data.task, seed=fit.seed)
    return pairs, f"{len(pairs)}-fold in {name}"


def fewer_folds(pairs: Sequence[Pair], data: LabelledData, fit: Fit) -> str:
    """Why there are fewer folds than `fit` says; "" where there are as many."""
    asked = fit.folds or DEFAULT_FOLDS
    if len(pairs) < 2 or len(pairs) >= asked:
        return ""
    units = "groups" if cross_validation.has_groups(data.train) else "items"
    units += " of each class" if data.task == "classification" else ""
    return f"settings were compared on {len(pairs)} folds, not {asked}, which need {asked} {units}"


def run_trials(
    factory: HeadFactory,
    candidates: dict[int, Candidate],
    pairs: Sequence[Pair],
    data: LabelledData,
    fit: Fit,
    *,
    sample_weighter: SampleWeighter,
) -> list[Trial]:
    """Each candidate (by its position) on each pair.

    Fits run in parallel in threads, which share the features, each on one BLAS thread: two threads each on busy cores
    were 9–19 times slower. Where joblib's backend is Ray's, they run there.
    """
    fit_warnings = ConvergenceWarnings()

    with_network = "class_texts" in factory.keywords  # stays in this process; others need no texts
    factory = factory if with_network else replace(factory, class_texts=None)
    run_group = partial(fit_group, factory, candidates, pairs, data, fit, sample_weighter, fit_warnings)

    positions, build = list(candidates), factory.with_seed(fit.seed)
    groups = [
        [positions[i] for i in group] for group in path_fitting.group_candidates(build, list(candidates.values()))
    ]
    jobs = [(group, pair) for pair in range(len(pairs)) for group in groups]
    total, threads = len(candidates) * len(pairs), min(len(jobs), joblib.cpu_count())
    done: list[Trial] = []
    with threadpool_limits(1), fit_warnings.recorded(), progress.bar(total=total, desc="fit", unit="fit") as bar:
        parallel = joblib.Parallel(threads, prefer="threads", return_as="generator")
        run: Callable[[list[int], int], list[Trial]] = run_group
        if on_ray.is_active() and len(jobs) > 1 and not with_network:
            parallel, run = on_ray.parallel(), on_ray.Sent.of(partial(run_apart, run_group, fit_warnings))
        for trials in parallel(joblib.delayed(run)(*job) for job in jobs):
            if len(pairs) == 1:
                done = keep_best_head([*done, *trials], fit.choose)
            else:  # a fold's head is not fitted on all of train
                done += [replace(trial, head=None) for trial in trials]
            bar.update(len(trials))
    return done


def run_apart(
    run_group: Callable[[list[int], int], list[Trial]], fit_warnings: ConvergenceWarnings, group: list[int], pair: int
) -> list[Trial]:
    """`run_group` in another process, which needs what `run_trials` sets for this one."""
    with threadpool_limits(1), fit_warnings.recorded():
        return run_group(group, pair)


def fit_group(
    factory: HeadFactory,
    candidates: dict[int, Candidate],
    pairs: Sequence[Pair],
    data: LabelledData,
    fit: Fit,
    sample_weighter: SampleWeighter,
    fit_warnings: ConvergenceWarnings,
    group: list[int],
    pair: int,
) -> list[Trial]:
    """Trials of the candidates at these positions, on the pair of this number; only the best keeps its head."""
    members = {i: candidates[i] for i in group}
    trials: list[Trial] = []
    for trial in group_trials(factory, members, pairs[pair], data, fit, sample_weighter, fit_warnings):
        trials = keep_best_head([*trials, trial], fit.choose)
    return trials


def group_trials(
    factory: HeadFactory,
    candidates: dict[int, Candidate],
    pair: Pair,
    data: LabelledData,
    fit: Fit,
    sample_weighter: SampleWeighter,
    fit_warnings: ConvergenceWarnings,
) -> Iterator[Trial]:
    """Trials of candidates that are fitted in one go, on one pair."""
    positions, (on, scored_on) = list(candidates), pair
    fit_params = {"sample_weight": sample_weighter(on.labels), "val": (scored_on.features, scored_on.labels)}
    unfinished = list(positions)
    try:
        build = factory.with_seed(fit.seed)
        for i, head, fit_s in path_fitting.fit(build, list(candidates.values()), on.features, on.labels, **fit_params):
            converged = convergence.converged(head, fit_warnings.take())
            scores = score_head(head, scored_on, data).scores
            unfinished.remove(positions[i])
            yield Trial(positions[i], scores, fit_s, converged, base.refit_parameters(head), head)
    except ValueError as reason:  # scikit-learn's error where an estimator can't be fitted on these items
        for position in unfinished:
            error, unsuitable = str(reason).splitlines()[0], isinstance(reason, base.Unsuitable)
            yield Trial(position, {}, 0.0, None, {}, error=error, unsuitable=unsuitable)


def keep_best_head(trials: list[Trial], choose: str) -> list[Trial]:
    """The trials, of which only the best keeps its head, the first among equals."""
    fitted = [trial for trial in trials if not trial.error]
    best = max(fitted, key=lambda trial: (metrics.utility(trial.scores, choose), -trial.position), default=None)
    return [trial if trial is best else replace(trial, head=None) for trial in trials]


def mean_scores(trials: Sequence[Trial]) -> dict[str, float]:
    """Scores averaged over pairs, and `n`, the sum of their items."""
    scores = [trial.scores for trial in trials]
    means = {name: float(np.mean([each[name] for each in scores])) for name in scores[0] if name != "n"}
    return {"n": sum(int(each["n"]) for each in scores), **means}


def all_converged(trials: Sequence[Trial]) -> bool | None:
    """Whether the candidate converged on every pair; None for one that is not iterative."""
    results = [trial.converged for trial in trials if trial.converged is not None]
    return all(results) if results else None
