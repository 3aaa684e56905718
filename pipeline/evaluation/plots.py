"""The tables that `dvc plots` draws: confusions and the ROC curve, as CSV text."""

import csv
import io
from collections.abc import Iterable, Sequence

import numpy as np

CURVE_POINTS = 200  # enough for a smooth line, few enough to keep in version control
CONFUSION_LINES = 10_000  # of a table of pixels, of which there are millions
CONFUSION_HEADER = ("actual", "predicted")
ROC_HEADER = ("fpr", "tpr")


def confusion_csv(labels: np.ndarray, predicted: np.ndarray, names: Sequence[str]) -> str:
    """One line an item, actual and predicted class, as `dvc plots`' confusion template counts them."""
    return table(CONFUSION_HEADER, zip((names[i] for i in labels), (names[i] for i in predicted), strict=True))


def pixel_confusion_csv(counts: np.ndarray, names: Sequence[str]) -> str:
    """Lines as those of items, but each stands for one in CONFUSION_LINES of all pixels; counts: (k, k)."""
    lines = np.rint(counts * (CONFUSION_LINES / max(1, counts.sum()))).astype(np.int64)
    pairs = ((names[i], names[j]) for i, j in np.ndindex(lines.shape) for _ in range(lines[i, j]))
    return table(CONFUSION_HEADER, pairs)


def roc_csv(labels: np.ndarray, scores: np.ndarray) -> str:
    """The ROC curve, micro-averaged over the classes: each (item, class) pair is one decision. scores: (n, k)."""
    from sklearn import metrics

    truth = np.eye(scores.shape[1], dtype=bool)[labels]
    false_positive, true_positive, _ = metrics.roc_curve(truth.ravel(), scores.ravel())
    grid = np.linspace(0, 1, CURVE_POINTS)
    curve = np.interp(grid, false_positive, true_positive)
    return table(ROC_HEADER, ((f"{x:.4f}", f"{y:.4f}") for x, y in zip(grid, curve, strict=True)))


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """CSV text."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return stream.getvalue()
