"""Few labels, in val as in train: the head is chosen on folds of both and fitted on both; with more, val chooses."""

from dataclasses import replace

import numpy as np
import pytest

from icebox.pipeline.config.fit import Fit
from icebox.pipeline.data.labelled import LabelledData, LabelledSplit
from icebox.pipeline.fitting import candidates, final_fit, head_factory, learning_curve
from icebox.pipeline.heads import logreg

FIT = Fit(seeds=2)
SETTLED = {"folds": 5, "refit": "train+val", "choose": "log_loss"}


def data(train: int, val: int, *, views: int = 1, task: str = "classification", groups: int = 0) -> LabelledData:
    """So many items of each of three classes in train and val, around three points; test has ten."""
    random = np.random.default_rng(0)

    def split(name: str, each: int, views: int = 1) -> LabelledSplit:
        labels = np.tile(np.repeat(np.arange(3), each), views)
        ids = np.tile(np.array([f"{name}{i}" for i in range(3 * each)], object), views)
        features = (4 * np.eye(3)[labels] + random.normal(size=(len(labels), 3))).astype(np.float32)
        return LabelledSplit(
            ids, features, labels, np.array([f"g{i % groups}" for i in range(len(ids))]) if groups else ids
        )

    splits = {"train": split("train", train, views), "val": split("val", val), "test": split("test", 10)}
    return LabelledData(["a", "b", "c"], {name: each for name, each in splits.items() if len(each)}, task)  # type: ignore[arg-type]


def changes(fit: Fit, of: LabelledData) -> dict[str, object]:
    settled = learning_curve.settled(fit, of)
    return {name: value for name, value in settled.model_dump().items() if value != getattr(fit, name)}


@pytest.mark.parametrize(
    ("of", "folds"),
    [(data(5, 5), 5), (data(5, 3), 5), (data(1, 1), 2), (data(2, 2, views=3), 4), (data(3, 2), 5), (data(1, 4), 5)],
)
def test_few_labels_are_learnt_from_on_both_sides(of: LabelledData, folds: int):
    assert changes(FIT, of) == SETTLED | {"folds": folds}


@pytest.mark.parametrize(
    "of",
    [
        data(6, 5),  # more labels
        data(5, 6),
        data(5, 2),  # val is smaller
        data(5, 0),  # there is none: folds of train anyway
        data(3, 3, groups=1),  # no two groups to make folds of
        replace(data(2, 2), task="regression"),
    ],
)
def test_other_data_is_chosen_as_ever(of: LabelledData):
    assert changes(FIT, of) == {}


@pytest.mark.parametrize(
    "said",
    [
        {"few_labels": "val"},
        {"folds": 3},
        {"refit": "train+val"},
        {"calibrate": "temperature"},
        {"decide": "f1_macro"},
        {"adapt": "standardize"},
    ],
)
def test_whatever_is_said_of_val_is_kept(said: dict[str, object]):
    fit = FIT.model_copy(update=said)
    assert changes(fit, data(5, 5)) == {}
    assert learning_curve.told([1, 5], fit, fit) == ""


def test_it_is_told_in_one_line_with_the_points_that_it_concerns():
    way = learning_curve.settled(FIT, data(5, 5))
    assert learning_curve.told([5], FIT, way).startswith(
        "with 5 labels a class, and as few in val, settings are chosen"
    )
    assert learning_curve.told([1, 5, 20, "all"], FIT, FIT).startswith("with 1 and 5 labels a class, and")
    assert learning_curve.told(["all"], FIT, way).startswith("with 5 labels a class or fewer, and")
    assert learning_curve.told(["all"], FIT, FIT) == learning_curve.told([20], FIT, FIT) == ""


def test_each_draw_of_the_curve_is_fitted_so_and_the_last_point_as_ever():
    of, factory = data(30, 30), head_factory.HeadFactory(logreg.build)
    grid = candidates.generate({"C": [0.01, 1.0]}, "grid", seed=0)
    main = final_fit.fit_head(factory, grid, of, FIT, sample_weighter=lambda labels: None)
    lines = learning_curve.compute(factory, grid, of, [1, "all"], FIT, sample_weighter=lambda labels: None, main=main)
    assert main.search.chosen_on == "val"
    assert [draw["val"]["n"] for draw in lines[0]["draws"]] == [6, 6]  # of both, each scored once
    assert lines[1]["draws"][0]["val"] == main.search.scores
