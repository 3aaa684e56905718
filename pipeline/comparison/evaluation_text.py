"""An evaluation as text for the terminal: scores with intervals, classes, confusions, and what else to know of them."""

from collections.abc import Iterator

import numpy as np
from tabulate import tabulate

from icebox.pipeline.comparison.evaluate import Evaluation, Score
from icebox.pipeline.evaluation.formatting import interval, number

CLASSES_MAX = 12  # of a confusion table; of more, the commonest confusions are listed
CONFUSIONS_MAX = 20
SHOWN = 3  # ids of items in a note


def as_text(evaluation: Evaluation) -> str:
    """All that a person needs to know of it."""
    own, unadapted = evaluation.own_test, evaluation.unadapted
    scores = [
        [name, number(score.value), interval(score.low, score.high)]
        + ([without_alignment(unadapted[name])] if unadapted else [])
        + ([number(own.get(name))] if own else [])
        for name, score in evaluation.scores.items()
    ]
    headers = [
        "",
        "score",
        "95 %",
        *(["not aligned"] if unadapted else []),
        *(["on the dataset's test"] if own else []),
    ]
    parts = [
        f"{evaluation.head}: {evaluation.n:,} items",
        table(scores, headers),
    ]
    sets = any("ap" in row for row in evaluation.classes)
    if evaluation.classes and "recall_low" not in evaluation.classes[0]:
        parts += [class_table(evaluation)]
    elif evaluation.classes:
        classes = [
            [
                row["class"],
                f"{row['n']:,}",
                number(row["recall"]),
                interval(row["recall_low"], row["recall_high"]),
                number(row["precision"]),
                number(row["f1"]),
                *([number(row["ap"])] if "ap" in row else []),
            ]
            for row in evaluation.classes
        ]
        parts += [table(classes, ["class", "n", "recall", "95 %", "precision", "F1", *(["AP"] if sets else [])])]
        parts += [] if sets else [confusion_text(evaluation)]
    return "\n\n".join([*parts, *(["\n".join(notes(evaluation))] if any(notes(evaluation)) else [])])


def class_table(evaluation: Evaluation) -> str:
    """A line for each class of masks or boxes, with its scores as they are."""
    names = [name for name in evaluation.classes[0] if name not in ("class", "n")]
    rows = [[row["class"], f"{row['n']:,}", *(number(row[name]) for name in names)] for row in evaluation.classes]
    return table(rows, ["class", "pixels" if "iou" in names else "boxes", *names])


def without_alignment(score: Score) -> str:
    """`0.8050 (0.755 … 0.848)`."""
    ends = interval(score.low, score.high)
    return number(score.value) + (f" ({ends})" if ends else "")


def confusion_text(evaluation: Evaluation) -> str:
    """A table with a line a label and a column a prediction, or the commonest confusions of many classes."""
    names = [row["class"] for row in evaluation.classes]
    if len(names) > CLASSES_MAX:
        wrong = [row for row in evaluation.confusion if row["label"] != row["prediction"]]
        wrong.sort(key=lambda row: -row["count"])
        rows = [[row["label"], row["prediction"], f"{row['count']:,}"] for row in wrong[:CONFUSIONS_MAX]]
        return table(rows, ["label", "taken for", "items"])
    counts = np.zeros((len(names), len(names)), np.int64)
    for row in evaluation.confusion:
        counts[names.index(row["label"]), names.index(row["prediction"])] = row["count"]
    rows = [[name, *(f"{count:,}" for count in line)] for name, line in zip(names, counts.tolist(), strict=True)]
    return table(rows, ["label \\ prediction", *names])


def table(rows: list[list[str]], headers: list[str]) -> str:
    """Plain text, the first column to the left, all others to the right."""
    align = ["left", *["right"] * (len(headers) - 1)]
    text: str = tabulate(rows, headers=headers, disable_numparse=True, colalign=align if rows else None)
    return text


def notes(evaluation: Evaluation) -> Iterator[str]:
    """Sentences on what the scores do not show."""
    if evaluation.unadapted:
        yield "transductive: items were aligned as a set, by their features; not aligned: the same head without that"
    if evaluation.groups is not None:
        yield f"{evaluation.groups:,} groups: intervals are of these"
    if evaluation.unreadable:
        yield f"{evaluation.unreadable:,} items could not be read and are left out"
    if evaluation.unknown_labels:
        names = ", ".join(f"'{label}' {count:,}" for label, count in evaluation.unknown_labels.items())
        scored = {row["class"] for row in evaluation.classes} & evaluation.unknown_labels.keys()
        yield f"labels that the head does not know, {'counted as wrong' if scored else 'left out'}: {names}"
    if evaluation.known is None:
        yield "not looked for: items that the dataset has already (its manifest is not here)"
    elif evaluation.known.by_split:
        counts = ", ".join(f"{split} {count:,}" for split, count in evaluation.known.by_split.items())
        ids = ", ".join(evaluation.known.ids[:SHOWN]) + (" …" if len(evaluation.known.ids) > SHOWN else "")
        others = evaluation.known.others
        without = "" if others is None else f"; {evaluation.chosen_by} without those of train and val: {number(others)}"
        yield f"leakage: contents that the head's dataset has, by its split: {counts} ({ids}){without}"
