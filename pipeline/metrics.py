"""Scores of a head on one split, and the curves that `dvc plots` draws."""

import csv
import io
from collections.abc import Iterable, Sequence

import numpy as np
from sklearn import metrics

CURVE_POINTS = 200  # enough for a smooth line, few enough to keep in version control


def score(
    labels: np.ndarray, predicted: np.ndarray, probabilities: np.ndarray | None, classes: int
) -> dict[str, float]:
    """`n`, accuracy, macro-F1 over the classes (n true labels, n predicted, both class numbers), and the log loss
    where there are probabilities (n, k)."""
    every = np.arange(classes)
    scores: dict[str, float] = {
        "n": len(labels),
        "accuracy": float(metrics.accuracy_score(labels, predicted)),
        "macro_f1": float(metrics.f1_score(labels, predicted, labels=every, average="macro", zero_division=0.0)),
    }
    if probabilities is not None:
        scores["log_loss"] = float(metrics.log_loss(labels, probabilities, labels=every))
    return {name: value if name == "n" else round(value, 6) for name, value in scores.items()}


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
