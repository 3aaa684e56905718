"""What fitting leaves for people and for the report: metrics, details, predictions and plots of STORE/HEAD."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from icebox.features import files
from icebox.pipeline.evaluation import plots
from icebox.pipeline.evaluation.predictions import Scored
from icebox.pipeline.project import paths


def write(
    store: str,
    head: str,
    *,
    classes: list[str],
    splits: Mapping[str, Scored],
    val: Mapping[str, float],
    numbers: Mapping[str, float],
    details: Mapping[str, Any],
) -> None:
    """Write all of it.

    `splits` hold the test sets, and val where it chose; `val` are the scores that chose; `numbers` stand beside the
    scores in metrics.
    """
    scores = {split: scored.scores for split, scored in splits.items()}
    write_json(paths.metrics(store, head), {"val": val} | scores | {"val": val, **numbers})
    write_json(paths.details(store, head), details)
    tables = [predictions(scored, split, classes) for split, scored in splits.items()]
    with files.replacing(paths.predictions(store, head)) as temporary:
        pq.write_table(pa.concat_tables(tables), temporary)
    for name, text in plot_tables(splits["test"], classes).items():
        files.write_text(paths.plot(store, head, name), text)


def plot_tables(test: Scored, classes: list[str]) -> dict[str, str]:
    """CSV text by the plot's name. A regression has neither confusions nor decisions: its tables hold no lines."""
    if not classes:
        return {"confusion": plots.table(plots.CONFUSION_HEADER, []), "roc": plots.table(plots.ROC_HEADER, [])}
    return {
        "confusion": plots.confusion_csv(test.part.labels, test.answers.predicted, classes),
        "roc": plots.roc_csv(test.part.labels, test.answers.scores),
    }


def predictions(scored: Scored, split: str, classes: list[str]) -> pa.Table:
    """One row an item. `p_CLASS` are probabilities; a head without them gets `score_CLASS`, its margins.

    Of a regression, label and prediction are numbers, and that is all.
    """
    part, answers, names = scored.part, scored.answers, np.array(classes)
    kind = "p" if answers.probable else "score"
    columns = {
        "item_id": part.item_ids.astype(str),
        "split": np.full(len(part), split),
        "label": names[part.labels] if classes else part.labels,
        "prediction": names[answers.predicted] if classes else answers.predicted,
    } | {f"{kind}_{name}": answers.scores[:, i].astype(np.float32) for i, name in enumerate(classes)}
    return pa.table(
        {name: pa.array(column.tolist() if column.dtype.kind in "OU" else column) for name, column in columns.items()}
    )


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a result that git keeps."""
    files.write_text(path, json.dumps(content, indent=2) + "\n")
