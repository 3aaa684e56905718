"""A head on a store from beginning to end: search, the final fit under each seed, calibration, scores on test sets."""

import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import joblib
import numpy as np
from threadpoolctl import threadpool_limits

from icebox.features.errors import IceboxError
from icebox.pipeline.config.decide import ARGMAX
from icebox.pipeline.config.fit import Fit
from icebox.pipeline.data.class_weights import SampleWeighter
from icebox.pipeline.data.labelled import LabelledData, LabelledSplit
from icebox.pipeline.evaluation.predictions import ScoredSplit, score_head
from icebox.pipeline.fitting import convergence, decisions, path_fitting
from icebox.pipeline.fitting.candidates import Candidate
from icebox.pipeline.fitting.convergence import ConvergenceWarnings
from icebox.pipeline.fitting.head_factory import HeadFactory
from icebox.pipeline.fitting.search import SearchResult, Trial, comparison_pairs, search

Scored = Any  # a ScoredSplit; of a dense task, ScoredPictures


@dataclass(frozen=True)
class FittedHead:
    """A head under one seed, the seconds its fit took, and whether it converged (None: not iterative)."""

    seed: int
    head: Any
    fit_s: float
    converged: bool | None


@dataclass(frozen=True)
class SeedResult:
    """The winner under one seed and its scores: on val, unless it was fitted on val, and on each test set."""

    fitted: FittedHead
    val: dict[str, float] | None
    tests: Mapping[str, Scored]
    predict_s: float


@dataclass(frozen=True)
class FitResult:
    """The search; the winner under each seed, the first of which is saved; and val as scored by the search, where val
    chose."""

    search: SearchResult
    seeds: list[SeedResult]
    val: Scored | None


def fit_head(
    factory: HeadFactory,
    candidates: Sequence[Candidate],
    data: LabelledData,
    fit: Fit,
    *,
    sample_weighter: SampleWeighter,
) -> FitResult:
    """Choose on val or by folds, refit, calibrate, and score once on the test sets.

    Raises IceboxError where no setting, or the best one on other items or under another seed, can be fitted.
    """
    result = search(factory, candidates, data, fit, sample_weighter=sample_weighter)
    try:
        heads = fit_winner(factory, result, data, fit, sample_weighter=sample_weighter)
        val = score_head(result.trials[0].head, data.val, data) if result.chosen_on == "val" and data.val else None
        judge = threshold_scores(factory, result, data, fit, sample_weighter) if data.task == "multilabel" else None
        seeds = [score_seed(fitted, data, fit, val is not None, judge) for fitted in heads]
        if val is not None and fit.calibrate != "none":
            val = with_probabilities(val, seeds[0].fitted.head, data)
    except ValueError as reason:  # scikit-learn's error, as in the search
        raise IceboxError(f"the setting that was chosen can't be fitted: {str(reason).splitlines()[0]}") from reason
    return FitResult(result, seeds, val)


def with_probabilities(val: ScoredSplit, head: Any, data: LabelledData) -> ScoredSplit:
    """Val as its margins were scored, with the probabilities of the calibrated head in their place: those of test are
    no margins either, and an ensemble chooses its members by these. Val with probabilities of its own stays."""
    if val.predictions.has_probabilities:
        return val
    calibrated = score_head(head, val.split, data).predictions
    return replace(val, predictions=replace(calibrated, predicted=val.predictions.predicted))


def fit_winner(
    factory: HeadFactory, result: SearchResult, data: LabelledData, fit: Fit, *, sample_weighter: SampleWeighter
) -> list[FittedHead]:
    """The winner under `fit.seed`, and under the seeds after it where the head has randomness.

    On train, with val to stop early by, where val chose; on train and val together with `refit: train+val`; on train
    alone after folds. Without val a head stops where it did when it was chosen.
    """
    on, val = final_splits(data, result, fit)
    parameters = result.parameters if val is not None else result.parameters | mean_refit_parameters(result.trials)
    seeds = [fit.seed + i for i in range(fit.seeds if factory.has_randomness else 1)]
    chosen = result.trials[0] if val is not None else None  # was fitted on train, with val, in the search
    first = [] if chosen is None else [FittedHead(fit.seed, chosen.head, chosen.fit_s, chosen.converged)]
    fit_warnings = ConvergenceWarnings()

    def fit_seed(seed: int) -> FittedHead:
        fit_params = {"sample_weight": sample_weighter(on.labels), "val": val and (val.features, val.labels)}
        build = factory.with_seed(seed)
        ((_, head, fit_s),) = path_fitting.fit(build, [parameters], on.features, on.labels, **fit_params)
        return FittedHead(seed, head, fit_s, convergence.converged(head, fit_warnings.take()))

    remaining = seeds[len(first) :]
    with threadpool_limits(1), fit_warnings.recorded():
        parallel = joblib.Parallel(min(len(seeds), joblib.cpu_count()), prefer="threads")
        return first + (parallel(joblib.delayed(fit_seed)(seed) for seed in remaining) if remaining else [])


def final_splits(data: LabelledData, result: SearchResult, fit: Fit) -> tuple[LabelledSplit, LabelledSplit | None]:
    """The items that the final head is fitted on, and the val that it may stop early by."""
    if fit.refit == "train+val":
        return data.train_and_val, None
    return data.train, data.val if result.chosen_on == "val" else None


def mean_refit_parameters(trials: Sequence[Trial]) -> dict[str, Any]:
    """The parameters with which a fit without val stops where the trials did, on average over the pairs that stopped
    early; others had no item of a class that they could judge."""
    stopped = [trial.refit_parameters for trial in trials if trial.refit_parameters]
    names = stopped[0] if stopped else ()
    means = {name: float(np.mean([parameters[name] for parameters in stopped])) for name in names}
    return {name: round(mean) if isinstance(stopped[0][name], int) else mean for name, mean in means.items()}


def threshold_scores(
    factory: HeadFactory, result: SearchResult, data: LabelledData, fit: Fit, sample_weighter: SampleWeighter
) -> tuple[np.ndarray, np.ndarray] | None:
    """Scores (n, k) and sets (n, k) by which thresholds are chosen where the final heads have seen all items: those of
    val by the head of the search, or those of folds, each by a head that was fitted on the others. None where each
    final head chooses by its own scores on val."""
    if result.chosen_on == "val" and data.val:
        if fit.refit == "train":
            return None
        return score_head(result.trials[0].head, data.val, data).predictions.scores, data.val.labels
    pairs, _ = comparison_pairs(data, fit)
    scored = []
    with threadpool_limits(1), ConvergenceWarnings().recorded():
        for (on, scored_on), trial in zip(pairs, result.trials, strict=True):
            build, parameters = factory.with_seed(fit.seed), result.parameters | trial.refit_parameters
            weights = sample_weighter(on.labels)
            ((_, head, _),) = path_fitting.fit(build, [parameters], on.features, on.labels, sample_weight=weights)
            scored.append((score_head(head, scored_on, data).predictions.scores, scored_on.labels))
    scores, labels = (np.concatenate(parts) for parts in zip(*scored, strict=True))
    return scores, labels


def score_seed(
    fitted: FittedHead,
    data: LabelledData,
    fit: Fit,
    val_chose: bool,
    judge: tuple[np.ndarray, np.ndarray] | None = None,
) -> SeedResult:
    """Calibrate a head and choose its decisions where `fit` says so, and score it; the thresholds of sets of labels by
    the scores and sets of `judge`, or by the head's own on val."""
    val_is_unseen = data.val is not None and val_chose and fit.refit == "train"
    val = score_head(fitted.head, data.val, data).scores if val_is_unseen and data.val else None
    if fit.calibrate != "none":
        if data.val is None:
            raise IceboxError(f"calibrate: {fit.calibrate}: expected items in val to learn from, found none")
        fitted = replace(fitted, head=calibrate(fitted.head, data.val, fit.calibrate))
    if fit.decide != ARGMAX and data.task != "multilabel":
        fitted = replace(fitted, head=decisions.decided_head(fitted.head, data, fit.decide))
    if data.task == "multilabel":
        if judge is None:
            assert data.val is not None
            judge = score_head(fitted.head, data.val, data).predictions.scores, data.val.labels
        fitted = replace(fitted, head=decisions.threshold_head(fitted.head, *judge, fit.decide, data.classes))
    started_s = time.perf_counter()
    tests = {name: score_head(fitted.head, split, data) for name, split in data.tests.items()}
    return SeedResult(fitted, val, tests, time.perf_counter() - started_s)


def calibrate(head: Any, val: LabelledSplit, method: Literal["temperature", "isotonic"]) -> Any:
    """The fitted head with a map from its scores to frequencies behind it, fitted on val, which the head must not have
    been fitted on.

    `temperature` is one number (Guo et al. 2017) and changes no prediction; `isotonic` a rising curve for each class,
    for val sets of thousands. A head without probabilities gets them.
    """
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.frozen import FrozenEstimator

    features, labels, weights = val.features, val.labels, None
    if len(absent := np.setdiff1d(head.classes_, val.labels)):
        if method == "isotonic":
            raise IceboxError(
                f"calibrate: isotonic: expected items of every class in val, found none of {len(absent)} of "
                f"{len(head.classes_)} classes, for which there is no curve; take temperature, or give val such items"
            )
        # scikit-learn learns over the classes in val alone: an item of no weight stands for each of the others
        features = np.concatenate([val.features, np.repeat(val.features[:1], len(absent), axis=0)])
        labels, weights = np.append(val.labels, absent), np.append(np.ones(len(val)), np.zeros(len(absent)))
    with warnings.catch_warnings():  # of folds and of refitting with weights, neither of which a fitted head sees
        warnings.filterwarnings("ignore", "The least populated class in y|Since FrozenEstimator does not appear")
        calibrated = CalibratedClassifierCV(FrozenEstimator(head), method=method)
        return calibrated.fit(features, labels, sample_weight=weights)
