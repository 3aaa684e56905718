import numpy as np
import pytest

from icebox.features.manifest.manifest import ManifestRow
from icebox.pipeline.comparison import slices, statistics
from icebox.pipeline.comparison.test_predictions import ClassificationPredictions, RegressionPredictions

IDS = [f"t-{i}" for i in range(6)]


def rows(*genres: str) -> dict[str, ManifestRow]:
    return {
        item_id: ManifestRow(
            item_id=item_id, item_key="0", label="a", split="test", group="", source="", slices={"genre": genre}
        )
        for item_id, genre in zip(IDS, genres, strict=False)
    }


def predictions() -> ClassificationPredictions:
    """Right on the first four of six."""
    wrong = np.array([0, 0, 0, 0, 1, 1])
    return ClassificationPredictions(["a", "b"], IDS, np.zeros(6, int), wrong, np.ones(6), "margin")


def test_each_value_has_its_score_and_interval_largest_first():
    sea, land = slices.score_slices(predictions(), rows("sea", "sea", "sea", "land", "land", "sea"))
    assert (sea.column, sea.value, sea.n, sea.score) == ("genre", "sea", 4, 0.75)
    assert sea.interval == statistics.proportion_interval(0.75, 4)
    assert (land.value, land.n, land.score) == ("land", 2, 0.5)


def test_items_without_a_value_or_a_row_are_left_out():
    assert [each.n for each in slices.score_slices(predictions(), rows("sea", "land", "", "land"))] == [2, 1]


def test_one_value_or_very_many_are_no_slices(monkeypatch: pytest.MonkeyPatch):
    assert slices.score_slices(predictions(), rows(*["sea"] * 6)) == []
    monkeypatch.setattr(slices, "MAX_VALUES", 5)
    assert slices.score_slices(predictions(), rows(*"abcdef")) == []


def test_numbers_are_scored_by_their_error():
    found = slices.score_slices(
        RegressionPredictions(IDS, np.zeros(6), np.array([1.0, 1, 1, 3, 3, 3])), rows(*"xxxyyy")
    )
    assert [each.score for each in found] == [1, 3]
    assert found[0].interval == (1, 1)
