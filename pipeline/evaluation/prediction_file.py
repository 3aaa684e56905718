"""The file of a head's predictions, in parquet: one row an item of val (where it chose) and of the test sets.

Columns: `item_id`, `split`, `label`, `prediction`, and of a classifier one for each class: `p_CLASS`, its
probabilities, or `score_CLASS`, the margins of a head without probabilities. In a regression label and prediction are
numbers.

Of sets of labels, label and prediction are sets as `icebox.features.label_sets` writes them, and the file's metadata
has the task and the labels' names.

Of a dense task, one row a picture: `item_id`, `split`, the counts that its metrics are computed from and what was
predicted (`icebox.pipeline.evaluation.dense_tasks.dense`); the task and the classes' names are in the file's metadata.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from icebox.features import files, label_sets
from icebox.features.errors import IceboxError
from icebox.features.json_files import one_line
from icebox.pipeline.evaluation.dense_tasks import dense
from icebox.pipeline.evaluation.dense_tasks.dense import DensePredictions, ScoredPictures

if TYPE_CHECKING:  # it imports scikit-learn, which `compare` and `report` do without
    from icebox.pipeline.evaluation.predictions import ScoredSplit

FIXED_COLUMNS = ("item_id", "split", "label", "prediction")  # before those of the classes
TASK, CLASSES = b"icebox.task", b"icebox.classes"  # metadata of a dense task's file
COUNT = "count_"  # before the names of the columns of counts
PROBABILITY, MARGIN = "p", "score"
DAMAGED = (  # errors of pyarrow and numpy at a file that is no table, or another one
    pa.ArrowException, LookupError, TypeError, ValueError, ArithmeticError, BufferError, MemoryError, OSError,
)  # fmt: skip


@dataclass(frozen=True)
class StoredSplit:
    """The n items of one split: class numbers, or a regression's values, and scores (n, k) float32."""

    item_ids: list[str]
    labels: np.ndarray
    predicted: np.ndarray
    scores: np.ndarray


@dataclass(frozen=True)
class StoredPredictions:
    """A head's predictions by split, in the file's order; a regression has no classes."""

    classes: list[str]
    has_probabilities: bool
    splits: dict[str, StoredSplit]


@dataclass(frozen=True)
class StoredSets:
    """A head's predictions of sets of labels by split, whose labels and predictions are (n, k) bool."""

    classes: list[str]
    has_probabilities: bool
    splits: dict[str, StoredSplit]


StoredPictures = dict[str, DensePredictions]  # of a dense task, by split


def write(path: Path, splits: Mapping[str, "ScoredSplit | ScoredPictures"], classes: list[str]) -> None:
    """Write the predictions of all splits, whole or not at all."""
    tables = [
        picture_table(scored.predictions, name)
        if isinstance(scored, ScoredPictures)
        else prediction_table(scored, name, classes)
        for name, scored in splits.items()
    ]
    with files.replacing(path) as temporary:
        pq.write_table(pa.concat_tables(tables), temporary)


def prediction_table(scored: "ScoredSplit", name: str, classes: list[str]) -> pa.Table:
    """The rows of the split `name`."""
    split, predictions, names = scored.split, scored.predictions, np.array(classes)
    as_names: Callable[[np.ndarray], np.ndarray] = lambda numbers: names[numbers] if classes else numbers  # noqa: E731
    if sets := split.labels.ndim == 2:
        as_names = partial(texts_of_sets, names=classes)
    kind = PROBABILITY if predictions.has_probabilities else MARGIN
    columns = {
        "item_id": split.item_ids.astype(str),
        "split": np.full(len(split), name),
        "label": as_names(split.labels),
        "prediction": as_names(predictions.predicted),
    } | {f"{kind}_{label}": predictions.scores[:, i].astype(np.float32) for i, label in enumerate(classes)}
    table = pa.table(
        {key: pa.array(column.tolist() if column.dtype.kind in "OU" else column) for key, column in columns.items()}
    )
    metadata = {TASK: b"multilabel", CLASSES: json.dumps(classes, ensure_ascii=False)}
    return table.replace_schema_metadata(metadata) if sets else table


def texts_of_sets(rows: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Sets (n, k) bool as texts (n,)."""
    texts = [label_sets.join(names[i] for i in np.flatnonzero(row).tolist()) for row in rows]
    return np.array(texts, object)


def rows_of_sets(texts: Sequence[str], names: Sequence[str]) -> np.ndarray:
    """Texts of sets as (n, k) bool. Raises KeyError for a name that is none of these, ValueError for no set."""
    number = {name: i for i, name in enumerate(names)}
    rows = np.zeros((len(texts), len(names)), bool)
    for row, text in zip(rows, texts, strict=True):
        row[[number[name] for name in label_sets.split(text)]] = True
    return rows


def picture_table(predictions: DensePredictions, name: str) -> pa.Table:
    """The rows of the split `name`, of a dense task."""
    counts = {f"{COUNT}{key}": column for key, column in predictions.sample.columns().items()}
    columns = {"item_id": predictions.item_ids, "split": [name] * len(predictions.item_ids), **counts}
    table = pa.table({key: arrow_column(column) for key, column in (columns | dict(predictions.answers)).items()})
    metadata = {TASK: predictions.task, CLASSES: json.dumps(predictions.classes, ensure_ascii=False)}
    return table.replace_schema_metadata(metadata)


def arrow_column(column: Any) -> pa.Array:
    """A column of an array (n,) or (n, m), or of a list of n values, or of n arrays of their own lengths (m,)."""
    if isinstance(column, np.ndarray):
        if column.ndim == 1:
            return pa.array(column)
        return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(column).ravel()), column.shape[1])
    if len(column) and isinstance(column[0], np.ndarray):
        ends = np.cumsum([0, *map(len, column)], dtype=np.int32)
        return pa.ListArray.from_arrays(pa.array(ends), pa.array(np.concatenate(column)))
    return pa.array(column)


def numpy_column(column: pa.ChunkedArray) -> Any:
    """The column that `arrow_column` made."""
    whole = column.combine_chunks()
    if pa.types.is_fixed_size_list(whole.type):
        flat: np.ndarray = np.from_dlpack(whole.flatten())
        return flat.reshape(len(whole), whole.type.list_size)
    if pa.types.is_list(whole.type):
        values, ends = whole.flatten(), np.from_dlpack(whole.offsets)
        return np.split(np.from_dlpack(values), ends[1:-1] - ends[0])
    return whole.to_pylist() if pa.types.is_binary(whole.type) else np.from_dlpack(whole)


def read_pictures(table: pa.Table) -> StoredPictures:
    """The predictions of a dense task, by split."""
    classes = json.loads(table.schema.metadata[CLASSES])
    sample_type = dense.SAMPLES[table.schema.metadata[TASK].decode()]
    item_ids, split_of = table["item_id"].to_pylist(), table["split"].to_pylist()
    if not all(isinstance(value, str) for value in (*item_ids, *split_of)):
        raise ValueError("items without an id or a split")
    columns = {name: numpy_column(table[name]) for name in table.column_names if name not in ("item_id", "split")}
    sample = sample_type.of_columns(
        {name.removeprefix(COUNT): column for name, column in columns.items() if name.startswith(COUNT)}
    )
    answers = {name: list(column) for name, column in columns.items() if not name.startswith(COUNT)}
    whole, names = DensePredictions(classes, item_ids, sample, answers), np.array(split_of)
    return {name: whole.take(np.flatnonzero(names == name)) for name in dict.fromkeys(split_of)}


def read(path: Path) -> StoredPredictions | StoredSets | StoredPictures:
    """Read the predictions of all splits. Raises IceboxError for another kind of file."""
    try:
        table = pq.ParquetFile(path).read()
        metadata = table.schema.metadata or {}
        sets = metadata.get(TASK) == b"multilabel"
        if TASK in metadata and not sets:
            return read_pictures(table)
        item_ids, split_of, *targets = (table[name].to_pylist() for name in FIXED_COLUMNS)
        names = [name.split("_", 1) for name in table.column_names[len(FIXED_COLUMNS) :]]
        kinds, classes = {kind for kind, _ in names}, [label for _, label in names]
        # not to_numpy, which imports pandas (0.5 s) wherever that is installed
        columns = [np.from_dlpack(column.combine_chunks()) for column in table.columns[len(FIXED_COLUMNS) :]]
        if sets:
            if classes != json.loads(metadata[CLASSES]):
                raise ValueError("scores of other labels than it names")
            labels, predicted = (rows_of_sets(target, classes) for target in targets)
            scores = np.column_stack(columns)
        elif classes:
            number = {label: i for i, label in enumerate(classes)}
            labels, predicted = (np.array([number[label] for label in target], np.int64) for target in targets)
            scores = np.column_stack(columns)
        else:
            labels, predicted = (np.array([float(value) for value in target]) for target in targets)
            scores = np.empty((len(item_ids), 0), np.float32)
        if not all(isinstance(value, str) for value in (*item_ids, *split_of)):
            raise ValueError("items without an id or a split")
        if not all(np.isfinite(values).all() for values in (labels, predicted, scores)):
            raise ValueError("scores that are no numbers")
    except DAMAGED as reason:
        problem = one_line(f"{type(reason).__name__}: {reason}")
        raise IceboxError(f"{path}: expected predictions, found {problem}; run: dvc checkout {path}") from reason
    splits = {}
    for name in dict.fromkeys(split_of):
        rows = np.flatnonzero(np.array(split_of) == name)
        ids = [item_ids[i] for i in rows]
        splits[name] = StoredSplit(ids, labels[rows], predicted[rows], scores[rows])
    stored = StoredSets if sets else StoredPredictions
    return stored(classes, kinds == {PROBABILITY}, splits)
