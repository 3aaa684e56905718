"""The result files of STORE/HEAD, for people and for the report: metrics, details, predictions and plots."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from icebox.features import files
from icebox.pipeline.evaluation import plots
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
    tables = [prediction_table(scored, split, classes) for split, scored in splits.items()]
    with files.replacing(paths.predictions(store, head)) as temporary:
        pq.write_table(pa.concat_tables(tables), temporary)
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


def prediction_table(scored: ScoredSplit, name: str, classes: list[str]) -> pa.Table:
    """One row an item of the split `name`, with its predicted class and a column of scores for each class.

    `p_CLASS` are probabilities; a head without them gets `score_CLASS`, its margins. In a regression label and
    prediction are numbers, and there are no such columns.
    """
    split, predictions, names = scored.split, scored.predictions, np.array(classes)
    kind = "p" if predictions.has_probabilities else "score"
    columns = {
        "item_id": split.item_ids.astype(str),
        "split": np.full(len(split), name),
        "label": names[split.labels] if classes else split.labels,
        "prediction": names[predictions.predicted] if classes else predictions.predicted,
    } | {f"{kind}_{label}": predictions.scores[:, i].astype(np.float32) for i, label in enumerate(classes)}
    return pa.table(
        {key: pa.array(column.tolist() if column.dtype.kind in "OU" else column) for key, column in columns.items()}
    )


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a result that git keeps."""
    files.write_text(path, json.dumps(content, indent=2) + "\n")
