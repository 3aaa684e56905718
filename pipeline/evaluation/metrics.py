"""The table of metrics. Scores, the choices of `fit.choose`, the leaderboard and the report take all they know from it.

What chooses is also what is shown, compared and plotted, so every metric that may choose has an interval and a test.

A new metric is one entry of METRICS and, for its reader, a line in docs/fitting.md. scikit-learn may be imported inside
a function only: it costs 1.4 s, and `compare` and `report` do without.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from icebox.features.manifest.validation import Task
from icebox.pipeline.evaluation import multilabel
from icebox.pipeline.evaluation.dense_tasks import detection, segmentation
from icebox.pipeline.evaluation.sample import Sample, Scorable

BINS = 15  # of confidence, as most papers have it
DECIMALS = DIGITS = 6  # of a score in a file: so many decimals and, of a small one, so many significant digits

IntervalMethod = Literal["proportion", "bootstrap", "bootstrap-t"]
Place = Literal["terminal", "report", "curves"]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One score of a split. The first metric of a task in the table chooses where `fit.choose` names none.

    `function` takes the task's sample and returns a number; of a sample under weights, one for each draw (b,). A metric
    without an interval is never computed under weights, so its function may be any of scikit-learn's, of
    `sample.labels` and `sample.predicted`. With `needs_probabilities`, heads without them lack it and are chosen by the
    task's first metric instead.

    `interval`: how the 95 % interval of the score on test, and of its paired difference to the best, is made.
    "bootstrap": from draws of the items (or groups). "proportion": so too, but in closed form where few are right or
    wrong (Agresti and Coull; Bonett and Price): for a share of right answers alone. "bootstrap-t": of the log of a
    mean square, for a root mean squared error alone. None for a metric that may not choose.

    `of_item`: a value of each item (n,) whose mean, over the same items, orders heads as the metric does; None where
    there is none, as of macro-F1. A paired test is then of these.

    `shown`: in a column of the terminal's table, in one of the report's, in the curves of training.
    """

    name: str  # in metrics, params.yaml and `compare --json`
    title: str  # for people
    task: Task
    function: Callable[[Any], Any]
    greater_is_better: bool = True
    needs_probabilities: bool = False
    min_items: int = 1  # of fewer there is no such score
    interval: IntervalMethod | None = "bootstrap"
    of_item: Callable[[Any], np.ndarray] | None = None
    shown: tuple[Place, ...] = ("terminal", "report", "curves")
    needs: str = ""  # an attribute of the sample, which may be None: then there is no such score

    @property
    def chooses(self) -> bool:
        """Whether `fit.choose` may name it."""
        return self.interval is not None

    def is_defined(self, sample: Scorable) -> bool:
        """Whether the sample has what the metric needs."""
        if self.task != sample.task or len(sample) < self.min_items:
            return False
        if self.needs and getattr(sample, self.needs) is None:
            return False
        return sample.has_probabilities or not self.needs_probabilities


def accuracy(sample: Sample) -> Any:
    """The share of right predictions."""
    return sample.mean(sample.right)


def f1_macro(sample: Sample) -> Any:
    """The mean F1 of the classes that labels or predictions have, as scikit-learn takes them by default."""
    counts = sample.label_counts + sample.prediction_counts
    return (2 * sample.hits / np.maximum(counts, 1)).sum(axis=-1) / (counts > 0).sum(axis=-1)


def balanced_accuracy(sample: Sample) -> Any:
    """The mean recall of the classes that have items."""
    recalls = sample.hits / np.maximum(sample.label_counts, 1)
    return recalls.sum(axis=-1) / (sample.label_counts > 0).sum(axis=-1)


def log_loss(sample: Sample) -> Any:
    """The mean of -log p of the true class."""
    return sample.mean(sample.losses)


def calibration_error(sample: Sample) -> float:
    """The expected calibration error: how far confidence lies from the share of right predictions, on average over
    bins of equal width, weighted by their items (Guo et al. 2017)."""
    assert sample.probabilities is not None
    confidence = sample.probabilities.max(axis=1)
    bins = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    gaps = np.bincount(bins, weights=confidence - sample.right, minlength=BINS)
    return float(np.abs(gaps).sum() / len(confidence))


def root_mean_squared_error(sample: Sample) -> Any:
    """The root of the mean squared error."""
    return np.sqrt(sample.mean(sample.errors**2))


def mean_absolute_error(sample: Sample) -> Any:
    """The mean size of an error."""
    return sample.mean(np.abs(sample.errors))


def r2(sample: Sample) -> Any:
    """The share of the labels' variance that the predictions explain; of equal labels 1 or 0, as in scikit-learn."""
    centered = sample.labels.astype(np.float64) - sample.labels.mean()
    variance = sample.mean(centered**2) - sample.mean(centered) ** 2
    error = sample.mean(sample.errors**2)
    vary = variance > np.finfo(np.float64).eps * np.mean(centered**2)
    return np.where(vary, 1 - error / np.where(vary, variance, 1.0), np.where(error == 0, 1.0, 0.0))


METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            name="accuracy",
            title="accuracy",
            task="classification",
            function=accuracy,
            interval="proportion",
            of_item=lambda sample: sample.right,
        ),
        Metric(
            name="f1_macro",
            title="macro‑F1",
            task="classification",
            function=f1_macro,
            shown=("report", "curves"),
        ),
        Metric(
            name="balanced_accuracy",
            title="balanced accuracy",
            task="classification",
            function=balanced_accuracy,
            shown=("curves",),
        ),
        Metric(
            name="log_loss",
            title="log loss",
            task="classification",
            function=log_loss,
            greater_is_better=False,
            needs_probabilities=True,
            of_item=lambda sample: sample.losses,
            shown=("report", "curves"),
        ),
        Metric(
            name="ece",
            title="calibration error",
            task="classification",
            function=calibration_error,
            greater_is_better=False,
            needs_probabilities=True,
            interval=None,  # and so it may not choose: always answering with the classes' shares has no error
            shown=(),  # fits neither the curves' axis of losses nor that of scores
        ),
        Metric(
            name="rmse",
            title="RMSE",
            task="regression",
            function=root_mean_squared_error,
            greater_is_better=False,
            interval="bootstrap-t",
            of_item=lambda sample: sample.errors**2,
        ),
        Metric(
            name="mae",
            title="MAE",
            task="regression",
            function=mean_absolute_error,
            greater_is_better=False,
            of_item=lambda sample: np.abs(sample.errors),
            shown=("report", "curves"),
        ),
        Metric(
            name="r2",
            title="R²",
            task="regression",
            function=r2,
            min_items=2,
            of_item=lambda sample: sample.errors**2,
            shown=("report", "curves"),
        ),
        Metric(name="mean_ap", title="mAP", task="multilabel", function=multilabel.mean_average_precision),
        Metric(name="label_f1_macro", title="macro‑F1", task="multilabel", function=multilabel.f1_macro),
        Metric(
            name="label_f1_micro",
            title="micro‑F1",
            task="multilabel",
            function=multilabel.f1_micro,
            shown=("report", "curves"),
        ),
        Metric(
            name="ranking_loss",
            title="ranking loss",
            task="multilabel",
            function=multilabel.ranking_loss,
            greater_is_better=False,
            of_item=multilabel.ranking_losses,
            shown=("report", "curves"),
        ),
        Metric(
            name="exact_match",
            title="exact match",
            task="multilabel",
            function=multilabel.exact_match,
            interval="proportion",
            of_item=lambda sample: sample.right,
            shown=("report", "curves"),
        ),
        Metric(name="miou", title="mIoU", task="segmentation", function=segmentation.mean_iou),
        Metric(
            name="pixel_accuracy",
            title="pixel accuracy",
            task="segmentation",
            function=segmentation.pixel_accuracy,
        ),
        Metric(
            name="boundary_f1",
            title="boundary F1",
            task="segmentation",
            function=segmentation.boundary_f1,
            of_item=lambda sample: sample.boundary_scores,
            shown=("report", "curves"),
            needs="boundary_scores",
        ),
        Metric(name="ap50", title="AP50", task="detection", function=detection.average_precision_50),
        Metric(name="ap", title="AP", task="detection", function=detection.average_precision),
        Metric(
            name="ar",
            title="AR",
            task="detection",
            function=detection.average_recall,
            shown=("report", "curves"),
        ),
    )
}


def of_task(task: Task) -> list[Metric]:
    """The metrics of a task, in the order of the table."""
    return [metric for metric in METRICS.values() if metric.task == task]


def primary(task: Task) -> Metric:
    """The metric that chooses among heads of a task where nothing else is said."""
    return of_task(task)[0]


def choices(task: Task) -> list[str]:
    """The names that `fit.choose` may have for a task."""
    return [metric.name for metric in of_task(task) if metric.chooses]


def scores(sample: Scorable) -> dict[str, float]:
    """`n` and the metrics of the sample's task, not rounded; those of probabilities where it has any.

    Raises ValueError, as scikit-learn does, for predictions or probabilities that are no finite numbers.
    """
    sample.require_finite()
    known = [metric for metric in of_task(sample.task) if metric.is_defined(sample)]
    return {"n": len(sample)} | {metric.name: float(metric.function(sample)) for metric in known}


def rounded(score: float) -> float:
    """A score as files keep it: what differs in later digits is the machine."""
    if score == 0 or not math.isfinite(score):
        return score
    return round(score, max(DECIMALS, DIGITS - 1 - math.floor(math.log10(abs(score)))))


def choosing_metric(scores: Mapping[str, float], name: str) -> str:
    """The metric that chooses by these scores: `name`, or the task's first where they lack it (no probabilities)."""
    return name if name in scores else next(each for each in METRICS if each in scores)


def utility(scores: Mapping[str, float], name: str) -> float:
    """The score that chooses, negated where smaller is better: the largest is the best, whatever the metric.

    To twelve significant digits: equal scores differ in later ones, by the order in which they were summed.
    """
    name = choosing_metric(scores, name)
    score = float(f"{scores[name]:.12g}")
    return score if METRICS[name].greater_is_better else -score
