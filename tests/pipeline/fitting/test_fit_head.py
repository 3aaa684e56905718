import pytest

from icebox.features.errors import IceboxError
from icebox.pipeline.config.schema import Fit
from icebox.pipeline.data.class_weights import sample_weighter
from icebox.pipeline.data.labelled import LabelledData
from icebox.pipeline.fitting import fit_head, learning_curve
from icebox.pipeline.fitting.head_factory import Maker
from tests.pipeline.labels import Always, EarlyStopped, part

DATA = LabelledData(
    ["a", "b"], {"train": part(0, 0, 1, 1), "val": part(1, 1, 0), "test": part(0, 1), "test-far": part(1, 1)}
)
SETTINGS = [{"answer": 0}, {"answer": 1}]


def learnt(data=DATA, build=Always, fills=(), weights="none", **fit):
    weigh = sample_weighter(weights, data.classes, "")
    return fit_head.learn(Maker(build, "classification", frozenset(fills)), SETTINGS, data, Fit(**fit), weigh=weigh)


def test_the_winner_on_val_is_scored_on_every_test_set():
    (only,) = learnt().seeds
    assert only.fitted.head.answer == 1
    assert {name: scored.scores["accuracy"] for name, scored in only.tests.items()} == {"test": 0.5, "test-far": 1.0}
    assert only.val["accuracy"] == pytest.approx(2 / 3, abs=1e-6)


def test_a_refit_on_train_and_val_keeps_vals_score_of_the_choice():
    found = learnt(refit="train+val")
    assert found.seeds[0].fitted.head.n_ == 7
    assert found.seeds[0].val is None
    assert found.val.scores["accuracy"] == found.found.scores["accuracy"] == pytest.approx(2 / 3, abs=1e-6)


def test_a_head_that_stopped_early_is_refitted_for_as_long_without_val():
    head = learnt(build=EarlyStopped, refit="train+val").seeds[0].fitted.head
    assert (head.epochs, head.stopped_) == (3, 3)


def test_without_val_the_winner_is_fitted_on_all_of_train():
    data = LabelledData(["a", "b"], {"train": part(0, 1, 1, 0, 1), "test": part(0)})
    head = learnt(data, EarlyStopped).seeds[0].fitted.head
    assert (head.answer, head.n_) == (1, 5)
    assert head.stopped_ == 2  # items judged in a fold, on average 2.5


def test_a_head_with_randomness_is_fitted_under_each_seed_and_the_first_is_kept():
    found = learnt(fills={"seed"}, seeds=3, seed=7)
    assert [each.fitted.head.seed for each in found.seeds] == [7, 8, 9]
    assert found.seeds[0].fitted.head is found.found.tried[0].head
    assert len(learnt(seeds=3).seeds) == 1


def test_weights_reach_the_head():
    assert learnt(weights={"b": 3.0}).seeds[0].fitted.head.weights_.tolist() == [1, 1, 3, 3]


def test_calibration_without_val_is_refused():
    data = LabelledData(["a", "b"], {"train": part(0, 1, 1, 0), "test": part(0)})
    with pytest.raises(IceboxError, match="calibrate: temperature: expected items in val"):
        learnt(data, calibrate="temperature")


def test_the_few_label_curve_has_several_draws_a_point_and_ends_in_the_main_result():
    data = LabelledData(["a", "b"], {"train": part(*[0, 1] * 20), "val": part(*[0, 1] * 10), "test": part(0, 1, 1)})
    fit, made = Fit(seeds=3), Maker(Always)
    points = learning_curve.in_order(["all", 5, 1])
    main = fit_head.learn(made, SETTINGS, data, fit, weigh=lambda labels: None)
    curve = learning_curve.curve(made, SETTINGS, data, points, fit, weigh=lambda labels: None, main=main)
    assert [(line["labels_per_class"], line["train_n"], len(line["draws"])) for line in curve] == [
        (1, 2, 3),
        (5, 10, 3),
        ("all", 40, 1),
    ]
    assert curve[1]["draws"][0]["val"]["n"] == 10
    assert curve[2]["draws"][0]["test"] == main.seeds[0].tests["test"].scores
