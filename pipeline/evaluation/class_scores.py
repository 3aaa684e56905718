"""Precision, recall and F1 of each class."""

from collections.abc import Sequence
from typing import Any

from icebox.pipeline.evaluation.sample import Sample


def of_sample(sample: Sample, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Items, precision, recall and F1 of each class; None where it was never predicted, or has no items."""
    counted = zip(classes, sample.hits, sample.label_counts, sample.prediction_counts, strict=True)
    return [
        {
            "class": name,
            "n": int(n),
            "precision": float(hits / predicted) if predicted else None,
            "recall": float(hits / n) if n else None,
            "f1": float(2 * hits / (n + predicted)) if n + predicted else None,
        }
        for name, hits, n, predicted in counted
    ]
