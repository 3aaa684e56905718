"""Each sentence of advice, where the numbers bear it out and where they don't."""

from typing import Any

import pytest

from icebox.pipeline.comparison import recommendations
from icebox.pipeline.comparison.leaderboard import LeaderboardEntry
from icebox.pipeline.comparison.significance import PairedComparison, Significance, Verdict
from icebox.pipeline.comparison.slices import Slice
from icebox.pipeline.evaluation.metrics import METRICS


def entry(
    head: str = "logreg", *, chosen: dict[str, Any] | None = None, ece: float = 0.0, **details: Any
) -> LeaderboardEntry:
    scores = {"n": 400, "accuracy": 0.9, "ece": ece}
    return LeaderboardEntry(
        "d", "net", "d-net", head, scores, scores, {}, chosen or {}, 0.1, 0.1, 100, 1, details, METRICS["accuracy"]
    )


def significance(verdict: Verdict, wins: int = 0, losses: int = 0) -> Significance:
    comparison = PairedComparison(
        (wins - losses) / 400, {"accuracy": (-0.1, 0.1)}, "exact McNemar", 0.5, 0.5, 400, wins, losses
    )
    return Significance({"accuracy": (0.8, 0.9)}, None if verdict == "best" else comparison, verdict)


BEST = (entry(bundle_bytes=900), significance("best"))


def recommend(
    *lines: recommendations.AssessedEntry,
    floor: recommendations.AssessedEntry | None = None,
    grids: dict[str, Any] | None = None,
) -> list[str]:
    return recommendations.recommend(lines or [BEST], floor, [], grids or {})


def test_without_anything_to_say_nothing_is_said():
    assert recommend() == []


def test_of_tied_heads_the_smallest_is_named():
    small = (entry("centroid", bundle_bytes=100), significance("tied"))
    worse = (entry("knn", bundle_bytes=1), significance("worse"))
    (sentence,) = recommend(BEST, small, worse)
    assert sentence == "1 of 2 others can't be told from the best on this test: the smallest of them is net · centroid."
    assert "it is also the smallest" in recommend((entry(bundle_bytes=1), significance("best")), small)[0]


def test_a_floor_that_ties_asks_for_more_test_items():
    floor = (entry("pixels"), significance("tied", 2, 6))
    (sentence,) = recommend(floor=floor)
    assert "can't tell net from the floor, net · pixels (400 items don't); about 1,5" in sentence
    assert recommend(floor=(entry("pixels"), significance("worse", 2, 60))) == []


@pytest.mark.parametrize(("last", "said"), [(0.8, "should still help"), (0.705, "will hardly help")])
def test_the_curve_of_labels_says_whether_more_would_help(last: float, said: str):
    points = [
        {"labels_per_class": "all", "train_n": 100, "draws": [{"test": {"accuracy": last}}]},
        {"labels_per_class": 5, "train_n": 50, "draws": [{"test": {"accuracy": score}} for score in (0.6, 0.8)]},
    ]
    (sentence,) = recommend((entry(labels=points), significance("best")))
    assert said in sentence
    assert "from 50 to 100 train items" in sentence


def test_a_value_at_the_end_of_its_list_asks_for_a_longer_list():
    grids = {"logreg": {"C": [0.1, 1.0], "scale": ["each", "overall"], "k": 3}}
    chosen = entry(chosen={"C": 1.0, "scale": "each", "k": 3})
    assert recommend((chosen, significance("best")), grids=grids) == [
        "net · logreg chose C=1.0, the largest tried: try larger ones in heads.logreg.C."
    ]


@pytest.mark.parametrize(
    ("values", "chosen"),
    [([1, 3], 1), ([0.0, 0.1], 0.0), ([0.1, 1.0], 1.0), ([5, 5], 5), ([True, False], True), ([None, 3.0], 3.0)],
)
def test_no_longer_list_is_asked_for_where_there_is_nothing_beyond(values: list[Any], chosen: Any):
    lines = [(entry(chosen={"x": chosen}), significance("best"))]
    share = lambda head, parameter, value: value >= 1 if isinstance(value, int) else 0 < value <= 1  # noqa: E731
    assert recommendations.recommend(lines, None, [], {"logreg": {"x": values}}, fits=share) == []


def test_no_longer_list_is_asked_for_where_a_value_inside_was_as_good():
    search = [{"C": c, "accuracy": score} for c, score in ((0.1, 0.7), (1.0, 0.9), (10.0, 0.9))]
    best = entry(chosen={"C": 10.0}, search=search)
    assert recommend((best, significance("best")), grids={"logreg": {"C": [0.1, 1.0, 10.0]}}) == []
    search[1]["accuracy"] = 0.8
    (sentence,) = recommend((best, significance("best")), grids={"logreg": {"C": [0.1, 1.0, 10.0]}})
    assert "try larger ones" in sentence


def test_fits_that_were_cut_short_are_named():
    assert recommend((entry(converged=False), significance("best"))) == [
        "Not converged, so perhaps better than they look: net · logreg."
    ]


def test_a_slice_that_is_surely_worse_is_named():
    slices = [Slice("genre", "sea", 50, 0.5, (0.4, 0.6)), Slice("genre", "land", 9, 0.8, (0.6, 0.99))]
    assert recommendations.recommend([BEST], None, slices, {}) == [
        "Worse than average where genre is “sea”: 0.500 on 50 items."
    ]


def test_probabilities_that_are_off_ask_for_calibration():
    assert "off by 0.12" in recommend((entry(ece=0.12), significance("best")))[0]
    assert "calibrate: temperature" in recommend((entry(ece=0.12), significance("best")))[0]
    calibrated = entry(ece=0.12, calibrate="isotonic")
    assert "although they were calibrated" in recommend((calibrated, significance("best")))[0]
    together = entry(ece=0.12, ensemble=["logreg", "knn"])
    assert "calibrate:" not in recommend((together, significance("best")))[0]
