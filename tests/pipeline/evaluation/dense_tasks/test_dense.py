"""Files of predictions of dense tasks, and their comparison on the leaderboard's terms."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from icebox.features.errors import IceboxError
from icebox.pipeline.comparison import significance, test_predictions
from icebox.pipeline.evaluation import metrics, prediction_file, result_files, results
from icebox.pipeline.evaluation.dense_tasks import dense
from icebox.pipeline.evaluation.dense_tasks.dense import DensePredictions, ScoredPictures
from icebox.pipeline.evaluation.dense_tasks.segmentation import SegmentationSample
from icebox.pipeline.evaluation.metrics import METRICS


def answers(ids: list[str], seed: int = 0) -> ScoredPictures:
    random = np.random.default_rng(seed)
    counts = random.integers(0, 50, (len(ids), 3, 3)).astype(np.int32)
    sample = SegmentationSample(counts, random.random(len(ids)))
    masks = [f"png {item_id}".encode() for item_id in ids]
    return dense.score(DensePredictions(["sky", "road", "car"], ids, sample, {"mask": masks}))


def test_what_was_written_is_what_is_read_split_by_split(tmp_path: Path) -> None:
    path, splits = tmp_path / "p.parquet", {"val": answers(["c", "a"]), "test": answers(["d", "b", "e"], 1)}
    prediction_file.write(path, splits, [])
    stored = test_predictions.read_splits(path)
    assert list(stored) == ["val", "test"]
    assert list(test_predictions.read(path)) == ["test"]
    for name, scored in splits.items():
        read = stored[name]
        assert isinstance(read, DensePredictions)
        assert (read.task, read.classes) == ("segmentation", ["sky", "road", "car"])
        assert read.item_ids == scored.predictions.item_ids
        assert read.answers == scored.predictions.answers
        assert metrics.scores(read.sample) == scored.scores


def test_columns_keep_their_shapes_whatever_they_hold() -> None:
    for column in (
        np.array([1.5, 2.5]),
        np.arange(6, dtype=np.int32).reshape(2, 3),
        [np.arange(3, dtype=np.float32), np.zeros(0, np.float32), np.ones(2, np.float32)],
        [b"one", b"two"],
    ):
        table = prediction_file.pa.table({"c": prediction_file.arrow_column(column)})
        read = prediction_file.numpy_column(table["c"])
        assert all(np.array_equal(a, b) for a, b in zip(read, column, strict=True))
        sliced = prediction_file.numpy_column(table.slice(1)["c"])
        assert all(np.array_equal(a, b) for a, b in zip(sliced, column[1:], strict=True))


@pytest.mark.parametrize("damage", ["task", "counts"])
def test_a_file_with_other_counts_is_one_line(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "p.parquet"
    prediction_file.write(path, {"test": answers(["a", "b"])}, [])
    table = pq.read_table(path)
    if damage == "task":
        table = table.replace_schema_metadata({**table.schema.metadata, prediction_file.TASK: "knitting"})
    else:
        table = table.drop_columns(["count_confusions"])
    pq.write_table(table, path)
    with pytest.raises(IceboxError, match="expected predictions") as raised:
        prediction_file.read(path)
    assert "\n" not in str(raised.value)


def test_two_heads_are_compared_on_the_pictures_that_both_have() -> None:
    ids = [f"{i:02}" for i in range(20)]
    one, other = answers(ids).predictions, answers([*reversed(ids), "more"], 1).predictions
    best, entry = (significance.restrict(each, set(ids)) for each in (one, other))
    assert best.item_ids == entry.item_ids == ids
    units = np.arange(20)
    draws = [significance.draw_metrics(each.sample, units, draws=50) for each in (entry, best)]
    compared = significance.compare(entry.sample, best.sample, *draws, units, METRICS["miou"])
    assert compared.difference == pytest.approx(
        float(METRICS["miou"].function(entry.sample)) - float(METRICS["miou"].function(best.sample))
    )
    assert set(compared.intervals) == {"miou", "pixel_accuracy", "boundary_f1"}
    assert (compared.test, compared.wins) == ("flip test", None)
    assert 0 < compared.p <= 1


def test_the_worst_pictures_come_first() -> None:
    counts = np.stack([np.diag([5, 5]), np.array([[0, 5], [5, 0]]), np.array([[5, 0], [4, 1]])])
    predictions = DensePredictions(["a", "b"], ["x", "y", "z"], SegmentationSample(counts), {})
    assert predictions.mistakes(5) == [1, 2]
    assert predictions.label_and_prediction(1) == ("", "0.000")


def test_results_are_those_of_every_head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    scored = answers(["a", "b"])
    results.write(
        "roads-net", "logreg", classes=["sky", "road", "car"], splits={"test": scored}, val=scored.scores,
        numbers={"train_n": 5, "fit_s": 1.0, "predict_s": 0.1}, details={"chosen": {}, "settings": 1},
    )  # fmt: skip
    read = result_files.read_metrics(results.paths.metrics("roads-net", "logreg"), remedy="")
    assert read["test"]["miou"] == pytest.approx(scored.scores["miou"], abs=1e-6)
    details = result_files.read_details(results.paths.details("roads-net", "logreg"), scored=read["test"], remedy="")
    assert [each["class"] for each in details["by_class"]["test"]] == ["sky", "road", "car"]
    confusion = results.paths.plot("roads-net", "logreg", "confusion").read_text().splitlines()
    assert confusion[0] == "actual,predicted"
    assert 9_990 < len(confusion) < 10_010
