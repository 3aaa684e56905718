"""Each sentence of advice, where the numbers bear it out and where they don't."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from icebox.pipeline.comparison import recommendations
from icebox.pipeline.comparison.classification_predictions import Judged
from icebox.pipeline.comparison.leaderboard import Entry
from icebox.pipeline.comparison.significance import Standing, Verdict, Versus
from icebox.pipeline.comparison.slices import Slice


def entry(head: str = "logreg", *, chosen: dict[str, Any] | None = None, ece: float = 0.0, **details: Any) -> Entry:
    scores = {"n": 400, "accuracy": 0.9, "ece": ece}
    return Entry("d", "net", "d-net", head, scores, scores, {}, chosen or {}, 0.1, 0.1, 100, 1, details)


def stands(verdict: Verdict, wins: int = 0, losses: int = 0) -> Standing:
    versus = Versus((wins - losses) / 400, {"accuracy": (-0.1, 0.1)}, "exact McNemar", 0.5, 0.5, 400, wins, losses)
    return Standing({"accuracy": (0.8, 0.9)}, None if verdict == "best" else versus, verdict)


BEST = (entry(bundle_bytes=900), stands("best"))


def given(
    *lines: recommendations.Named, floor: recommendations.Named | None = None, grids: dict[str, Any] | None = None
) -> list[str]:
    return recommendations.given(lines or [BEST], floor, None, [], grids or {})


def test_without_anything_to_say_nothing_is_said():
    assert given() == []


def test_of_tied_heads_the_smallest_is_named():
    small = (entry("centroid", bundle_bytes=100), stands("tied"))
    worse = (entry("knn", bundle_bytes=1), stands("worse"))
    (sentence,) = given(BEST, small, worse)
    assert sentence == "1 of 2 others can't be told from the best on this test: the smallest of them is net · centroid."
    assert "it is also the smallest" in given((entry(bundle_bytes=1), stands("best")), small)[0]


def test_a_floor_that_ties_asks_for_more_test_items():
    floor = (entry("pixels"), stands("tied", 2, 6))
    (sentence,) = given(floor=floor)
    assert "can't tell net from the floor, net · pixels (400 items don't); about 1,5" in sentence
    assert given(floor=(entry("pixels"), stands("worse", 2, 60))) == []


@pytest.mark.parametrize(("last", "said"), [(0.8, "should still help"), (0.705, "will hardly help")])
def test_the_curve_of_labels_says_whether_more_would_help(last: float, said: str):
    points = [
        {"labels_per_class": "all", "train_n": 100, "draws": [{"test": {"accuracy": last}}]},
        {"labels_per_class": 5, "train_n": 50, "draws": [{"test": {"accuracy": score}} for score in (0.6, 0.8)]},
    ]
    (sentence,) = given((entry(labels=points), stands("best")))
    assert said in sentence
    assert "from 50 to 100 train items" in sentence


def test_a_value_at_the_end_of_its_list_asks_for_a_longer_list():
    grids = {"logreg": {"C": [0.1, 1.0], "scale": ["each", "overall"], "k": 3}}
    chosen = entry(chosen={"C": 1.0, "scale": "each", "k": 3})
    assert given((chosen, stands("best")), grids=grids) == [
        "net · logreg chose C=1.0, the largest tried: try larger ones in heads.logreg.C."
    ]
    nearest = {"logreg": {"neighbors": [1, 3]}}
    assert given((entry(chosen={"neighbors": 1}), stands("best")), grids=nearest) == []


def test_fits_that_were_cut_short_are_named():
    assert given((entry(converged=False), stands("best"))) == [
        "Not converged, so perhaps better than they look: net · logreg."
    ]


def test_the_weakest_class_is_named_with_what_it_is_taken_for():
    labels = np.arange(60) % 3
    predicted = np.where((labels == 1) & (np.arange(60) < 30), 2, labels)
    seen = Judged(["a", "b", "c"], [str(i) for i in range(60)], labels, predicted, np.ones(60), "margin")
    (sentence,) = recommendations.given([BEST], None, seen, [], {})
    assert sentence == "The best head finds “b” least often (50% of 20), and mostly takes it for “c”."
    assert recommendations.given([BEST], None, replace(seen, predicted=labels), [], {}) == []


def test_a_slice_that_is_surely_worse_is_named():
    slices = [Slice("genre", "sea", 50, 0.5, (0.4, 0.6)), Slice("genre", "land", 9, 0.8, (0.6, 0.99))]
    assert recommendations.given([BEST], None, None, slices, {}) == [
        "Worse than average where genre is “sea”: 0.500 on 50 items."
    ]


def test_probabilities_that_are_off_ask_for_calibration():
    assert "off by 0.12" in given((entry(ece=0.12), stands("best")))[0]
