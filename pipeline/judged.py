"""The test split as one head saw it, from its predictions: what it takes for what, and where it is surely wrong."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from features.errors import IceboxError

FIXED = ("item_id", "split", "label", "prediction")  # the other columns are p_CLASS or score_CLASS


@dataclass(frozen=True)
class Judged:
    """n test items: ids, true and predicted class numbers (n,), and how sure the head was of its prediction (n,).

    `measure` says what `sure` is: "confidence" is the predicted class's probability, "margin" the lead of its score
    over the next one.
    """

    classes: list[str]
    item_ids: list[str]
    labels: np.ndarray
    predicted: np.ndarray
    sure: np.ndarray
    measure: str

    @property
    def right(self) -> np.ndarray:
        """Whether each prediction is the label (n,)."""
        hits: np.ndarray = self.labels == self.predicted
        return hits

    @property
    def wrong(self) -> int:
        """How many predictions are not the label."""
        return int((~self.right).sum())

    def confusion(self) -> np.ndarray:
        """Counts (k, k): rows are actual, columns predicted classes."""
        counts = np.zeros((len(self.classes), len(self.classes)), np.int64)
        np.add.at(counts, (self.labels, self.predicted), 1)
        return counts

    def mistakes(self, limit: int) -> list[int]:
        """Positions of the wrong predictions, the surest first; equally sure ones in the items' order."""
        wrong = np.flatnonzero(~self.right)
        return [int(i) for i in wrong[np.argsort(-self.sure[wrong], kind="stable")][:limit]]


def read(path: Path) -> Judged:
    """Read the test rows of a predictions file. Raises IceboxError for a file that is none."""
    try:
        table = pq.ParquetFile(path).read()
        rows = {name: table[name].to_pylist() for name in FIXED}
        kinds, classes = zip(*(name.split("_", 1) for name in table.column_names[len(FIXED) :]), strict=True)
    except (pa.ArrowException, KeyError, ValueError, OSError) as reason:
        raise IceboxError(f"{path}: expected predictions, found {reason}; run: dvc checkout {path}") from reason
    number = {name: i for i, name in enumerate(classes)}
    test = [i for i, split in enumerate(rows["split"]) if split == "test"]
    # not to_numpy, which imports pandas (0.5 s) wherever that is installed
    columns = [np.from_dlpack(column.combine_chunks()) for column in table.columns[len(FIXED) :]]
    values = np.column_stack(columns)[test]  # (n, k)
    predicted = np.array([number[rows["prediction"][i]] for i in test], np.int64)
    probabilities = set(kinds) == {"p"}
    return Judged(
        classes=list(classes),
        item_ids=[rows["item_id"][i] for i in test],
        labels=np.array([number[rows["label"][i]] for i in test], np.int64),
        predicted=predicted,
        sure=chosen(values, predicted) if probabilities else lead(values, predicted),
        measure="confidence" if probabilities else "margin",
    )


def chosen(values: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """The value (n,) that each row of (n, k) has for its predicted class."""
    picked: np.ndarray = values[np.arange(len(values)), predicted]
    return picked


def lead(scores: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """How far (n,) the predicted class's score lies above the best of the others."""
    others = scores.copy()
    others[np.arange(len(scores)), predicted] = -np.inf
    ahead: np.ndarray = chosen(scores, predicted) - others.max(axis=1, initial=-np.inf)
    return ahead


def pairs(judged: Judged, limit: int) -> list[dict[str, Any]]:
    """The commonest confusions: actual and predicted class, how often, and that as a share of the actual class."""
    counts = judged.confusion()
    wrong = counts * (1 - np.eye(len(counts), dtype=np.int64))
    order = [divmod(int(i), len(counts)) for i in np.argsort(-wrong, axis=None, kind="stable")]
    found = [(a, p) for a, p in order[:limit] if wrong[a, p]]
    return [
        {
            "actual": judged.classes[a],
            "predicted": judged.classes[p],
            "count": int(wrong[a, p]),
            "share": float(wrong[a, p] / counts[a].sum()),
        }
        for a, p in found
    ]


def won_and_lost(one: Judged, other: Judged) -> tuple[int, int] | None:
    """How many items only `one` and only `other` got right; None where they were judged on different items."""
    if one.item_ids != other.item_ids:
        return None
    return int((one.right & ~other.right).sum()), int((other.right & ~one.right).sum())


def commonest(labels: Iterable[str]) -> tuple[str, float]:
    """The commonest label and its share: what always answering it would score. Among equals the first by name."""
    counts = Counter(labels)
    best = min(counts, key=lambda label: (-counts[label], label))
    return best, counts[best] / counts.total()
