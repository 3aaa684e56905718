"""The result files of STORE/HEAD, for people and for the report: metrics, details, predictions and plots."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from icebox.features import files
from icebox.pipeline.evaluation import plots, prediction_file
from icebox.pipeline.evaluation.predictions import ScoredSplit
from icebox.pipeline.project import paths


def write(
    store: str,
    head: str,
    *,
    classes: list[str],
    splits: Mapping[str, ScoredSplit],
    val: Mapping[str, float],
    numbers: Mapping[str, float],
    details: Mapping[str, Any],
) -> None:
    """Write all result files of a head.

    `splits` hold the test sets, and val where it chose; `val` are the scores that chose; `numbers` stand beside the
    scores in metrics.
    """
    scores = {split: scored.scores for split, scored in splits.items()}
    write_json(paths.metrics(store, head), {"val": val} | scores | {"val": val, **numbers})
    write_json(paths.details(store, head), details)
    prediction_file.write(paths.predictions(store, head), splits, classes)
    for name, text in plot_tables(splits["test"], classes).items():
        files.write_text(paths.plot(store, head, name), text)


def plot_tables(test: ScoredSplit, classes: list[str]) -> dict[str, str]:
    """CSV text by the plot's name. A regression has neither confusions nor decisions: its tables hold no lines."""
    if not classes:
        return {"confusion": plots.table(plots.CONFUSION_HEADER, []), "roc": plots.table(plots.ROC_HEADER, [])}
    return {
        "confusion": plots.confusion_csv(test.split.labels, test.predictions.predicted, classes),
        "roc": plots.roc_csv(test.split.labels, test.predictions.scores),
    }


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a result that git keeps."""
    files.write_text(path, json.dumps(content, indent=2) + "\n")
