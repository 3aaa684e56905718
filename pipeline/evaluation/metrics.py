"""The table of metrics. Scores, the choices of `fit.choose`, the leaderboard and the report take all they know from it.

A new metric is one entry of METRICS and, for its reader, a line in docs/fitting.md. scikit-learn may be imported inside
a function only: it costs 1.4 s, and `compare` and `report` do without.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from icebox.features.manifest.validation import Task
from icebox.pipeline.evaluation.sample import Sample

BINS = 15  # of confidence, as most papers have it

IntervalMethod = Literal["proportion", "bootstrap", "bootstrap-t"]
Place = Literal["terminal", "report", "curves"]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One score of a split. The first metric of a task in the table is the one that heads are compared by.

    `function` takes a `Sample` and returns a number; of a sample under weights, one for each draw (b,). A metric
    without an interval is never computed under weights, so its function may be any of scikit-learn's, of
    `sample.labels` and `sample.predicted`. With `needs_probabilities`, heads without them lack it and are chosen by the
    task's first metric instead; `interval` is None then, since comparing reads no probabilities.

    `interval`: how the 95 % interval of the score on test, and of its paired difference to the best, is made.
    "bootstrap": from draws of the items (or groups). "proportion": so too, but in closed form where few are right or
    wrong (Wilson; Bonett and Price): for a share of right answers alone. "bootstrap-t": of the log of a mean square,
    for a root mean squared error alone.

    `shown`: in a column of the terminal's table, in one of the report's, in the curves of training.
    """

    name: str  # in metrics, params.yaml and `compare --json`
    title: str  # for people
    task: Task
    function: Callable[[Sample], Any]
    greater_is_better: bool = True
    needs_probabilities: bool = False
    min_items: int = 1  # of fewer there is no such score
    chooses: bool = True  # whether `fit.choose` may name it
    interval: IntervalMethod | None = None
    shown: tuple[Place, ...] = ("terminal", "report", "curves")


def accuracy(sample: Sample) -> Any:
    """The share of right predictions."""
    return sample.mean(sample.right)


def f1_macro(sample: Sample) -> Any:
    """The mean F1 of all classes; 0 for a class without items and predictions."""
    counts = sample.label_counts + sample.prediction_counts
    return (2 * sample.hits / np.maximum(counts, 1)).mean(axis=-1)


def balanced_accuracy(sample: Sample) -> Any:
    """The mean recall of the classes that have items."""
    recalls = sample.hits / np.maximum(sample.label_counts, 1)
    return recalls.sum(axis=-1) / (sample.label_counts > 0).sum(axis=-1)


def log_loss(sample: Sample) -> float:
    """The mean of -log p of the true class."""
    from sklearn import metrics

    return float(metrics.log_loss(sample.labels, sample.probabilities, labels=np.arange(sample.classes)))


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


def r2(sample: Sample) -> float:
    """The share of the labels' variance that the predictions explain; of a single label there is none."""
    from sklearn import metrics

    return float(metrics.r2_score(sample.labels, sample.predicted))


METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(name="accuracy", title="accuracy", task="classification", function=accuracy, interval="proportion"),
        Metric(
            name="f1_macro",
            title="macro‑F1",
            task="classification",
            function=f1_macro,
            interval="bootstrap",
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
            shown=("report", "curves"),
        ),
        Metric(
            name="ece",
            title="calibration error",
            task="classification",
            function=calibration_error,
            greater_is_better=False,
            needs_probabilities=True,
            chooses=False,  # always answering with the classes' shares has none
            shown=(),  # fits neither the curves' axis of losses nor that of scores
        ),
        Metric(
            name="rmse",
            title="RMSE",
            task="regression",
            function=root_mean_squared_error,
            greater_is_better=False,
            interval="bootstrap-t",
        ),
        Metric(
            name="mae",
            title="MAE",
            task="regression",
            function=mean_absolute_error,
            greater_is_better=False,
            shown=("report", "curves"),
        ),
        Metric(name="r2", title="R²", task="regression", function=r2, min_items=2, shown=("report", "curves")),
    )
}


def of_task(task: Task) -> list[Metric]:
    """The metrics of a task, in the order of the table."""
    return [metric for metric in METRICS.values() if metric.task == task]


def primary(task: Task) -> Metric:
    """The metric that heads of a task are compared by."""
    return of_task(task)[0]


def choices(task: Task) -> list[str]:
    """The names that `fit.choose` may have for a task."""
    return [metric.name for metric in of_task(task) if metric.chooses]


def scores(sample: Sample) -> dict[str, float]:
    """`n` and the metrics of the sample's task, to six digits; those of probabilities where it has any.

    Raises ValueError, as scikit-learn does, for predictions that are no finite numbers.
    """
    if not np.isfinite(sample.predicted).all():
        raise ValueError("Predictions contain NaN or infinity.")
    known = [
        metric
        for metric in of_task(sample.task)
        if len(sample.labels) >= metric.min_items and not (metric.needs_probabilities and sample.probabilities is None)
    ]
    return {"n": len(sample.labels)} | {metric.name: round(float(metric.function(sample)), 6) for metric in known}


def choosing_metric(scores: Mapping[str, float], name: str) -> str:
    """The metric that chooses by these scores: `name`, or the task's first where they lack it (no probabilities)."""
    return name if name in scores else next(each for each in METRICS if each in scores)


def utility(scores: Mapping[str, float], name: str) -> float:
    """The score that chooses, negated where smaller is better: the largest is the best, whatever the metric."""
    name = choosing_metric(scores, name)
    return scores[name] if METRICS[name].greater_is_better else -scores[name]
