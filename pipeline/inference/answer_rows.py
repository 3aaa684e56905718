"""A head's answers as rows of a table: which columns it has, and what stands in them.

Letters: b batch, k classes.
"""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from icebox.features import label_sets
from icebox.pipeline.evaluation.predictions import Predictions
from icebox.pipeline.inference.bundle import Bundle
from icebox.pipeline.inference.output import Cell, Columns
from icebox.pipeline.inference.reading.new_items import Batch, printable

SET = "set"  # the column of sets: JSON lists of classes


def columns(opened: Bundle, *, sets: bool = False) -> Columns:
    """The columns of a table of predictions, with or without one of sets."""
    kind = "p" if hasattr(opened.head, "predict_proba") else "score"
    answers: dict[str, type[str] | type[float]] = {"label": float if opened.task == "regression" else str}
    if sets:
        answers[SET] = str
    return {"id": str, "input": str, **answers, **{f"{kind}_{name}": float for name in opened.classes}}


def rows(
    opened: Bundle, batch: Batch, answers: Predictions, inside: np.ndarray | None = None
) -> Iterator[dict[str, Cell]]:
    """A row of these columns for each item of a batch; `inside` (b, k) are the items' sets of classes, if any."""
    item_id, shown_as, label, *scores = columns(opened)
    sets = [None] * len(batch.items) if inside is None else inside
    for item, shown, answer, values, members in zip(
        batch.items, batch.shown, answers.predicted, answers.scores, sets, strict=True
    ):
        chosen = [] if members is None else [opened.classes[number] for number in np.flatnonzero(members)]
        yield {
            item_id: printable(item.item_id),
            shown_as: printable(shown),
            label: worded(opened, answer),
            **({} if members is None else {SET: json.dumps(chosen, ensure_ascii=False)}),
            **dict(zip(scores, map(float, values), strict=True)),
        }


def worded(opened: Bundle, answer: Any) -> Cell:
    """An item's answer as a cell: a class, a value, or a set of labels as `icebox.features.label_sets` writes it."""
    if opened.task == "multilabel":
        return label_sets.join(opened.classes[number] for number in np.flatnonzero(answer).tolist())
    return opened.classes[answer] if opened.classes else float(answer)
