import json
from pathlib import Path

import pytest

from icebox.features.errors import IceboxError
from icebox.pipeline.evaluation import results


@pytest.mark.parametrize(
    "content",
    [
        {"val": {"n": 3, "accuracy": float("nan")}},
        [{"C": 1.0, "accuracy": 0.5, "by_fold": [0.5, float("inf")]}],
        {"test": {"rmse": float("-inf")}},
    ],
)
def test_a_score_that_is_no_number_is_refused_before_a_file_is_written(content: object):
    with pytest.raises(IceboxError, match=r"expected a number, found -?(nan|inf)"):
        results.require_finite({"val": {"n": 3, "accuracy": 1.0}}, content)


def test_parameters_may_be_infinite_and_scores_of_zero_are_numbers():
    results.require_finite([{"C": float("inf"), "accuracy": 0.0}])


def test_scores_are_rounded_to_six_digits_and_parameters_kept(tmp_path: Path):
    content = {"chosen": {"C": 1 / 3}, "search": [{"C": 1 / 3, "rmse": 2e-8 / 3, "by_fold": [2 / 3]}], "n": 7}
    results.write_json(tmp_path / "x.json", content)
    assert json.loads((tmp_path / "x.json").read_text()) == {
        "chosen": {"C": 1 / 3},
        "search": [{"C": 1 / 3, "rmse": 6.66667e-9, "by_fold": [0.666667]}],
        "n": 7,
    }


def test_no_file_of_results_holds_nan(tmp_path: Path):
    with pytest.raises(ValueError, match="JSON compliant"):
        results.write_json(tmp_path / "x.json", {"accuracy": float("nan")})
    assert not list(tmp_path.iterdir())


def test_recalls_stand_in_metrics_where_classes_are_few():
    by_class = [{"class": "NORMAL", "recall": 0.5666667}, {"class": "rare", "recall": None}]
    assert results.recalls_of(by_class) == {"recall": {"NORMAL": 0.566667}}
    assert results.recalls_of(by_class * 11) == {}
    assert results.recalls_of([]) == {}
