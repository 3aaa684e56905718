"""Scores of a head on one split, and the curves that `dvc plots` draws."""

import csv
import io
from collections.abc import Iterable, Sequence

import numpy as np
from sklearn import metrics

BINS = 15  # of confidence, as most papers have it
CURVE_POINTS = 200  # enough for a smooth line, few enough to keep in version control


def score(
    labels: np.ndarray, predicted: np.ndarray, probabilities: np.ndarray | None, classes: int
) -> dict[str, float]:
    """`n`, accuracy, macro-F1 and balanced accuracy (n true labels, n predicted, both class numbers), and the log loss
    and calibration error where there are probabilities (n, k)."""
    every = np.arange(classes)
    scores: dict[str, float] = {
        "n": len(labels),
        "accuracy": float(metrics.accuracy_score(labels, predicted)),
        "macro_f1": float(metrics.f1_score(labels, predicted, labels=every, average="macro", zero_division=0.0)),
        # balanced_accuracy_score is the same and warns where a class without items is predicted
        "balanced_accuracy": float(
            metrics.recall_score(labels, predicted, labels=np.unique(labels), average="macro", zero_division=0.0)
        ),
    }
    if probabilities is not None:
        scores["log_loss"] = float(metrics.log_loss(labels, probabilities, labels=every))
        scores["ece"] = calibration_error(probabilities.max(axis=1), labels == predicted)
    return {name: value if name == "n" else round(value, 6) for name, value in scores.items()}


def score_values(labels: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """`n`, and the error of a regression (n true values, n predicted): root mean square, mean absolute, and R²."""
    scores = {
        "rmse": float(metrics.root_mean_squared_error(labels, predicted)),
        "mae": float(metrics.mean_absolute_error(labels, predicted)),
    }
    if len(labels) > 1:  # of a single value there is no variance to explain
        scores["r2"] = float(metrics.r2_score(labels, predicted))
    return {"n": len(labels)} | {name: round(value, 6) for name, value in scores.items()}


def calibration_error(sure: np.ndarray, right: np.ndarray) -> float:
    """The expected calibration error: how far confidence (n,) lies from the share of right answers (n,) bool, on
    average over bins of equal width, weighed by their items (Guo et al. 2017)."""
    bins = np.minimum((sure * BINS).astype(np.int64), BINS - 1)
    gaps = np.bincount(bins, weights=sure - right, minlength=BINS)
    return float(np.abs(gaps).sum() / len(sure))


def confusion_csv(labels: np.ndarray, predicted: np.ndarray, names: Sequence[str]) -> str:
    """One line an item, actual and predicted class, as `dvc plots`' confusion template counts them."""
    return table(("actual", "predicted"), zip((names[i] for i in labels), (names[i] for i in predicted), strict=True))


def roc_csv(labels: np.ndarray, scores: np.ndarray) -> str:
    """The ROC curve, micro-averaged over the classes: each (item, class) pair is one decision. scores: (n, k)."""
    truth = np.eye(scores.shape[1], dtype=bool)[labels]
    false_positive, true_positive, _ = metrics.roc_curve(truth.ravel(), scores.ravel())
    grid = np.linspace(0, 1, CURVE_POINTS)
    curve = np.interp(grid, false_positive, true_positive)
    return table(("fpr", "tpr"), ((f"{x:.4f}", f"{y:.4f}") for x, y in zip(grid, curve, strict=True)))


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """CSV text."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return stream.getvalue()
