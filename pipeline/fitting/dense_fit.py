"""A head of a dense task from beginning to end: search on val, the final fit under each seed, scores on test sets."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from threadpoolctl import threadpool_limits

from icebox.features.errors import IceboxError, NotApplicable
from icebox.pipeline.config.fit import Fit
from icebox.pipeline.data.class_weights import factors
from icebox.pipeline.data.dense import Cells, DenseData, Pictures
from icebox.pipeline.dense import detecting, segmenting
from icebox.pipeline.dense.base import MapHead, share_of
from icebox.pipeline.estimators import base
from icebox.pipeline.evaluation import metrics
from icebox.pipeline.evaluation.dense_tasks.dense import ScoredPictures
from icebox.pipeline.fitting import convergence, path_fitting
from icebox.pipeline.fitting.candidates import Candidate
from icebox.pipeline.fitting.convergence import ConvergenceWarnings
from icebox.pipeline.fitting.final_fit import FitResult, FittedHead, SeedResult, mean_refit_parameters
from icebox.pipeline.fitting.head_factory import HeadFactory
from icebox.pipeline.fitting.search import NoCandidateFits, SearchResult, Trial, keep_best_head
from icebox.pipeline.project import progress


class Score(Protocol):
    """Predicts pictures (n,) and scores them; with `choosing`, only what that metric needs."""

    def __call__(self, head: Any, data: DenseData, items: np.ndarray, *, choosing: str = "") -> ScoredPictures:
        """The answers and their scores."""


SCORES: Mapping[str, Score] = {"segmentation": segmenting.score, "detection": detecting.score}  # by task


@dataclass
class DenseFitter:
    """Fits heads of one family on pictures of a store. Cells that were drawn last are kept: most candidates share
    them."""

    factory: HeadFactory
    data: DenseData
    fit: Fit
    where: str
    warnings: ConvergenceWarnings = field(default_factory=ConvergenceWarnings)
    _drawn: dict[Any, Cells] = field(default_factory=dict)

    def fit_group(
        self, candidates: Sequence[Candidate], items: np.ndarray, val: np.ndarray | None, *, seed: int
    ) -> Iterator[tuple[int, FittedHead]]:
        """(position, fitted head) of candidates that are fitted in one go, on these pictures; `val` to stop by."""
        build = self.factory.with_seed(seed)
        head = build(**candidates[0])
        if isinstance(head, MapHead):
            started_s = time.perf_counter()
            fitted = head.fit_maps(
                self._pictures(items), (val is not None and self._pictures(val)) or None, self.class_weights(items)
            )
            yield 0, FittedHead(seed, fitted, time.perf_counter() - started_s, convergence.converged(fitted, 0))
            return
        share = share_of(head)
        cells = self._cells(items, share)
        fit_params: dict[str, Any] = {"sample_weight": self.data.weights(cells, self.fit.class_weights, self.where)}
        if val is not None and "val" in base.fit_keywords(head):
            to_stop_by = self._cells(val, share, every_view=False)
            fit_params["val"] = to_stop_by.features, to_stop_by.labels
        for position, fitted, fit_s in path_fitting.fit(build, candidates, cells.features, cells.labels, **fit_params):
            yield position, FittedHead(seed, fitted, fit_s, convergence.converged(fitted, self.warnings.take()))

    def class_weights(self, items: np.ndarray) -> np.ndarray:
        """The weight (k,) of each class."""
        weights = self.fit.class_weights
        counts = self.data.class_pixels(items) if weights in ("balanced", "sqrt") else np.zeros(len(self.data.classes))
        return factors(weights, self.data.classes, counts, self.where)

    def _pictures(self, items: np.ndarray) -> Pictures:
        return Pictures(self.data, items)

    def _cells(self, items: np.ndarray, share: float, *, every_view: bool = True) -> Cells:
        key = (items.tobytes(), share, every_view)
        if key not in self._drawn:
            for kept in [each for each in self._drawn if each[2] == every_view]:
                del self._drawn[kept]
            self._drawn[key] = self.data.draw_cells(items, share=share, seed=self.fit.seed, every_view=every_view)
        return self._drawn[key]


def takes_weights(factory: HeadFactory, candidate: Candidate) -> bool:
    """Whether a head is fitted with the weights of classes; heads of whole maps get them in any case."""
    head = factory.with_seed(0)(**candidate)
    return isinstance(head, MapHead) or "sample_weight" in base.fit_keywords(head)


def fit_head(
    factory: HeadFactory, candidates: Sequence[Candidate], data: DenseData, fit: Fit, *, where: str
) -> FitResult:
    """Choose on val at the pictures' own size, refit, and score once on the test sets.

    Raises IceboxError where there is no val, and where no setting, or the best one on other pictures or under another
    seed, can be fitted.
    """
    if data.val is None:
        raise IceboxError("expected pictures in val, by which heads are chosen, found none; change the dataset's split")
    score, fitter = SCORES[data.task], DenseFitter(factory, data, fit, where)
    # a second BLAS thread waits for the first on busy cores, as in the search of other tasks; torch has its own threads
    with threadpool_limits(1, user_api="blas"), fitter.warnings.recorded():
        result = search(fitter, candidates, score)
        try:
            heads = list(fit_winner(fitter, result))
        except ValueError as reason:  # scikit-learn's error, as in the search
            raise IceboxError(f"the setting that was chosen can't be fitted: {str(reason).splitlines()[0]}") from reason
        val = score(result.trials[0].head, data, data.val)
        seeds = [score_seed(fitter, fitted, score, val if fitted is heads[0] else None) for fitted in heads]
    return FitResult(result, seeds, val)


def score_seed(fitter: DenseFitter, fitted: FittedHead, score: Score, val: ScoredPictures | None) -> SeedResult:
    """The scores of a head on the test sets, and on val, where they may be known, unless it was fitted on that."""
    data, of_val = fitter.data, None
    if fitter.fit.refit == "train" and data.val is not None:
        of_val = (val or score(fitted.head, data, data.val)).scores
    started_s = time.perf_counter()
    tests = {name: score(fitted.head, data, items) for name, items in data.tests.items()}
    return SeedResult(fitted, of_val, tests, time.perf_counter() - started_s)


def search(fitter: DenseFitter, candidates: Sequence[Candidate], score: Score) -> SearchResult:
    """Fit every candidate on train, and score it on val; among equals the first wins. One that can't be fitted is
    passed over."""
    data, fit, build = fitter.data, fitter.fit, fitter.factory.with_seed(fitter.fit.seed)
    assert data.val is not None
    trials: list[Trial] = []
    with progress.bar(total=len(candidates), desc="fit", unit="fit") as bar:
        for group in path_fitting.group_candidates(build, candidates):
            unfinished = list(group)
            try:
                for i, fitted in fitter.fit_group([candidates[j] for j in group], data.train, data.val, seed=fit.seed):
                    scores = score(fitted.head, data, data.val, choosing=fit.choose).scores
                    refit = base.refit_parameters(fitted.head)
                    unfinished.remove(group[i])
                    trial = Trial(group[i], scores, fitted.fit_s, fitted.converged, refit, fitted.head)
                    trials = keep_best_head([*trials, trial], fit.choose)
                    bar.update(1)
            except ValueError as reason:  # scikit-learn's error where an estimator can't be fitted on these items
                error, unsuitable = str(reason).splitlines()[0], isinstance(reason, base.Unsuitable)
                for position in unfinished:
                    trials.append(Trial(position, {}, 0.0, None, {}, error=error, unsuitable=unsuitable))
    table = {trial.position: trial_row(candidates[trial.position], trial) for trial in trials}
    best = max(trials, key=lambda trial: (utility(trial, fit.choose), -trial.position))
    if all(trial.unsuitable for trial in trials):
        raise NotApplicable(best.error)
    if best.error:
        raise NoCandidateFits(f"no setting can be fitted on {len(data.train):,} pictures: {best.error}")
    return SearchResult(
        candidates[best.position],
        best.scores,
        metrics.choosing_metric(best.scores, fit.choose),
        "val",
        [best],
        [table[i] for i in range(len(candidates))],
    )


def utility(trial: Trial, choose: str) -> float:
    """The score that chooses; the least there is of one that can't be fitted."""
    return -math.inf if trial.error else metrics.utility(trial.scores, choose)


def trial_row(candidate: Candidate, trial: Trial) -> dict[str, Any]:
    """A line of the table of all candidates."""
    scores: dict[str, Any] = {"failed": trial.error} if trial.error else trial.scores
    return candidate | {"fit_s": round(trial.fit_s, 3), "converged": trial.converged} | scores


def fit_winner(fitter: DenseFitter, result: SearchResult) -> Iterator[FittedHead]:
    """The winner under `fit.seed`, and under the seeds after it where the head has randomness: on train with val to
    stop by, or on both with `refit: train+val`, where it stops when it did in the search."""
    data, fit, (chosen,) = fitter.data, fitter.fit, result.trials
    seeds = [fit.seed + i for i in range(fit.seeds if fitter.factory.has_randomness else 1)]
    parameters, items, val = result.parameters, data.train, data.val
    if fit.refit == "train+val":
        parameters, items, val = parameters | mean_refit_parameters(result.trials), data.train_and_val, None
    else:
        yield FittedHead(fit.seed, chosen.head, chosen.fit_s, chosen.converged)
        seeds = seeds[1:]
    for seed in seeds:
        ((_, fitted),) = fitter.fit_group([parameters], items, val, seed=seed)
        yield fitted
