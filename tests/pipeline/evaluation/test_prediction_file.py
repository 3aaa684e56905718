from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from icebox.features.errors import IceboxError
from icebox.pipeline.data.labelled import LabelledSplit
from icebox.pipeline.evaluation import prediction_file
from icebox.pipeline.evaluation.predictions import Predictions, score_predictions


def labelled(*labels: float) -> LabelledSplit:
    ids = np.array([f"i{number}" for number in range(len(labels))], object)
    return LabelledSplit(ids, np.empty((len(ids), 0), np.float32), np.array(labels), ids)


@pytest.mark.parametrize("has_probabilities", [True, False])
def test_predictions_of_classes_are_read_as_they_were_written(tmp_path: Path, has_probabilities: bool):
    scores = np.array([[0.75, 0.25], [0.5, 0.5]])
    splits = {
        name: score_predictions(labelled(0, 1), Predictions(np.array([0, predicted]), scores, has_probabilities), 2)
        for name, predicted in (("val", 0), ("test", 1))
    }
    prediction_file.write(tmp_path / "p.parquet", splits, ["a_b", "c"])
    stored = prediction_file.read(tmp_path / "p.parquet")
    assert (stored.classes, stored.has_probabilities, list(stored.splits)) == (
        ["a_b", "c"],
        has_probabilities,
        ["val", "test"],
    )
    for name, predicted in (("val", 0), ("test", 1)):
        split = stored.splits[name]
        assert (split.item_ids, split.labels.tolist()) == (["i0", "i1"], [0, 1])
        assert split.predicted.tolist() == [0, predicted]
        np.testing.assert_array_equal(split.scores, scores.astype(np.float32), strict=True)


def test_predictions_of_numbers_are_read_as_they_were_written(tmp_path: Path):
    predictions = Predictions(np.array([1.5, 0.0]), np.empty((2, 0)), has_probabilities=False)
    prediction_file.write(tmp_path / "p.parquet", {"test": score_predictions(labelled(1.0, 2.0), predictions, 0)}, [])
    stored = prediction_file.read(tmp_path / "p.parquet")
    split = stored.splits["test"]
    assert (stored.classes, stored.has_probabilities, split.scores.shape) == ([], False, (2, 0))
    assert (split.labels.tolist(), split.predicted.tolist()) == ([1.0, 2.0], [1.5, 0.0])


def test_another_table_is_an_error_that_says_what_to_run(tmp_path: Path):
    pq.write_table(pa.table({"item_id": ["a"], "split": ["test"]}), tmp_path / "p.parquet")
    with pytest.raises(IceboxError, match=r"expected predictions, found .*label.*run: dvc checkout"):
        prediction_file.read(tmp_path / "p.parquet")


@pytest.mark.parametrize("has_probabilities", [True, False])
def test_predictions_of_sets_are_read_as_they_were_written(tmp_path: Path, has_probabilities: bool):
    scores = np.array([[0.75, 0.5, 0.1], [0.25, 0.1, 0.2]], np.float32)
    split = labelled(0, 1)
    split = LabelledSplit(split.item_ids, split.features, np.array([[1, 0, 1], [0, 0, 0]], np.int8), split.groups)
    scored = score_predictions(split, Predictions(scores > 0.3, scores, has_probabilities), 3)
    prediction_file.write(tmp_path / "p.parquet", {"val": scored, "test": scored}, ["a_b", 'c"|,', "d"])
    stored = prediction_file.read(tmp_path / "p.parquet")
    assert isinstance(stored, prediction_file.StoredSets)
    assert (stored.classes, stored.has_probabilities) == (["a_b", 'c"|,', "d"], has_probabilities)
    for name in ("val", "test"):
        assert stored.splits[name].labels.tolist() == [[True, False, True], [False, False, False]]
        assert stored.splits[name].predicted.tolist() == [[True, True, False], [False, False, False]]
        np.testing.assert_array_equal(stored.splits[name].scores, scores, strict=True)
    assert pq.read_table(tmp_path / "p.parquet")["label"].to_pylist()[:2] == ['["a_b", "d"]', "[]"]


def test_damaged_sets_are_an_error_that_says_what_to_run(tmp_path: Path):
    columns = {"item_id": ["i"], "split": ["test"], "label": ['["b"]'], "prediction": ["[]"], "p_a": [0.5]}
    for label in ('["b"]', "a", '["a"'):
        table = pa.table(columns | {"label": [label]})
        metadata = {prediction_file.TASK: b"multilabel", prediction_file.CLASSES: b'["a"]'}
        pq.write_table(table.replace_schema_metadata(metadata), tmp_path / "p.parquet")
        with pytest.raises(IceboxError, match=r"expected predictions, found .*; run: dvc checkout"):
            prediction_file.read(tmp_path / "p.parquet")
