from dataclasses import replace

import pytest

from icebox.pipeline.comparison import search_table
from icebox.pipeline.comparison.leaderboard import LeaderboardEntry
from icebox.pipeline.evaluation.metrics import METRICS

SETTINGS = [
    {"C": 0.1, "scale": "each", "accuracy": 0.7, "fit_s": 0.1, "by_fold": [0.7, 0.6, 0.8]},
    {"C": 1.0, "scale": "each", "accuracy": 0.8, "fit_s": 0.2, "by_fold": [0.8, 0.7, 0.9]},
    {"C": 9.0, "scale": "each", "accuracy": 0.8, "fit_s": 0.3, "by_fold": [0.8, 0.8, 0.8]},
    {"C": 99.0, "scale": "each", "fit_s": 0.0, "failed": "no such luck"},
]
FOLDS = [{"n": 20, "accuracy": score} for score in (0.8, 0.8, 0.8)]


def entry(**details: object) -> LeaderboardEntry:
    known = {"search": SETTINGS, "choose": "accuracy", "folds": FOLDS} | details
    chosen, metric = {"C": 9.0, "scale": "each"}, METRICS["accuracy"]
    return LeaderboardEntry("d", "b", "s", "h", {}, {}, {}, chosen, 0.1, 0.1, 10, 4, known, metric)


def test_settings_stand_best_first_and_the_chosen_one_before_its_equals():
    found = search_table.rows(entry())
    assert [(one.setting, one.chosen) for one in found] == [
        ("C=9.0", True),
        ("C=1.0", False),
        ("C=0.1", False),
        ("C=99.0", False),
    ]
    assert found[-1].failed == "no such luck"
    assert (found[0].on_folds, found[-1].on_folds) == (None, None)


def test_by_folds_each_is_compared_with_the_chosen_one():
    _, equal, worse, _ = search_table.rows(entry())
    assert equal.on_folds.difference == pytest.approx(0)
    assert equal.on_folds.p == pytest.approx(1)
    assert worse.on_folds.difference == pytest.approx(-0.1)
    assert worse.on_folds.p < equal.on_folds.p


def test_on_val_nothing_is_compared():
    lines = [{name: value for name, value in line.items() if name != "by_fold"} for line in SETTINGS]
    assert {one.on_folds for one in search_table.rows(entry(search=lines, folds=[]))} == {None}


def test_of_halving_those_come_first_that_saw_most_and_they_alone_are_compared():
    lines = [line | {"share": 1.0 if i else 0.5} for i, line in enumerate(SETTINGS)]
    found = search_table.rows(entry(search=lines))
    assert [(one.setting, one.share, one.on_folds is None) for one in found[1:]] == [
        ("C=1.0", 1.0, False),
        ("C=99.0", 1.0, True),
        ("C=0.1", 0.5, True),
    ]


def test_small_errors_come_first():
    lines = [{"alpha": alpha, "rmse": alpha, "fit_s": 0.0} for alpha in (2.0, 1.0, 3.0)]
    found = search_table.rows(replace(entry(search=lines, choose="rmse", folds=[]), chosen={"alpha": 1.0}))
    assert [one.score for one in found] == [1.0, 2.0, 3.0]


def test_one_setting_is_no_search():
    assert search_table.rows(entry(search=SETTINGS[:1])) == []


def test_an_ensemble_tries_no_settings():
    heads = [{"head": "logreg", "accuracy": 0.9}, {"head": "knn", "accuracy": 0.8}]
    known = entry(search=heads, ensemble=["logreg", "knn"])
    assert search_table.rows(replace(known, chosen={"members": ["logreg", "knn"]})) == []
