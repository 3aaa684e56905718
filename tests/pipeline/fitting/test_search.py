import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from icebox.pipeline.config.fit import Fit
from icebox.pipeline.config.schema import PluginEntry
from icebox.pipeline.data.labelled import LabelledData, LabelledSplit
from icebox.pipeline.fitting import head_factory, path_fitting, search
from icebox.pipeline.fitting.head_factory import HeadFactory
from tests.pipeline.labels import Always, Mean, make_split

DATA = LabelledData(["a", "b"], {"train": make_split(0, 1), "val": make_split(1, 1, 0), "test": make_split(0, 0, 0)})


def find(candidates, data=DATA, build=Always, **fit):
    return search.search(
        HeadFactory(build, data.task), candidates, data, Fit(**fit), sample_weighter=lambda labels: None
    )


def answers(*values: float):
    return [{"answer": value} for value in values]


def test_val_chooses_even_where_test_would_choose_otherwise():
    result = find(answers(0, 1))
    assert (result.parameters, result.chosen_on, result.metric) == ({"answer": 1}, "val", "accuracy")
    assert [round(line["accuracy"], 3) for line in result.table] == [0.333, 0.667]
    assert result.trials[0].head.answer == 1


def test_among_equals_the_first_of_the_grid_wins():
    tied = LabelledData(["a", "b"], {"train": make_split(0, 1), "val": make_split(0, 1), "test": make_split(0, 1)})
    assert find(answers(1, 0), tied).parameters == {"answer": 1}


def test_a_head_without_probabilities_is_chosen_by_accuracy_where_log_loss_was_asked_for():
    result = find(answers(0, 1), choose="log_loss")
    assert (result.parameters, result.metric) == ({"answer": 1}, "accuracy")


def test_the_smallest_log_loss_wins():
    class Sure(Always):
        def predict(self, X):
            return np.zeros(len(X), int)

        def predict_proba(self, X):
            return np.tile([1 - self.answer, self.answer], (len(X), 1))

    result = find(answers(0.1, 0.6, 0.99), build=Sure, choose="log_loss")
    assert (result.parameters, result.metric) == ({"answer": 0.6}, "log_loss")


def test_the_smallest_error_of_a_regression_wins():
    data = LabelledData([], {"train": make_split(1, 3), "val": make_split(5, 5), "test": make_split(0)}, "regression")
    result = find([{"more": 0.0}, {"more": 2.5}, {"more": 9.0}], data, Mean, choose="rmse")
    assert result.parameters == {"more": 2.5}
    assert result.scores["rmse"] == 0.5


def test_without_val_folds_of_train_choose_and_every_item_is_judged_once():
    data = LabelledData(["a", "b"], {"train": make_split(*[0] * 5, *[1] * 10), "test": make_split(0)})
    result = find(answers(0, 1), data)
    assert (result.parameters, result.chosen_on) == ({"answer": 1}, "5-fold in train")
    assert result.scores["n"] == 15
    assert result.scores["accuracy"] == pytest.approx(2 / 3, abs=1e-6)
    assert [each.scores["n"] for each in result.trials] == [3] * 5
    assert all(each.head is None for each in result.trials)


def test_folds_leave_each_ones_score_and_a_name_that_tells_them_from_others():
    data = LabelledData(["a", "b"], {"train": make_split(*[0, 1] * 6), "test": make_split(0, 1)})
    result, again = (find(answers(0, 1), data, folds=3) for _ in range(2))
    assert [np.mean(line["by_fold"]) for line in result.table] == [line["accuracy"] for line in result.table]
    assert [len(line["by_fold"]) for line in result.table] == [3, 3]
    others = [find(answers(0), data, folds=3, seed=1), find(answers(0), data, folds=2)]
    assert result.folds_id == again.folds_id not in {each.folds_id for each in others}
    on_val = find(answers(0, 1))
    assert (on_val.folds_id, "by_fold" in on_val.table[0]) == ("", False)


def test_folds_may_be_asked_for_and_take_val_in_where_the_refit_does():
    data = LabelledData(["a", "b"], {"train": make_split(0, 0, 1, 1), "val": make_split(1, 1), "test": make_split(0)})
    assert find(answers(0, 1), data, folds=2).scores["n"] == 4
    both = find(answers(0, 1), data, folds=2, refit="train+val")
    assert (both.scores["n"], both.chosen_on) == (6, "2-fold in train+val")


def test_halving_ends_with_the_best_few_on_all_items():
    labels = [0] * 30 + [1] * 60
    data = LabelledData(["a", "b"], {"train": make_split(*labels), "val": make_split(1, 1, 0), "test": make_split(0)})
    fits: list[tuple[float, int]] = []

    class Noted(Always):
        def fit(self, X, y):
            fits.append((self.answer, len(X)))
            return super().fit(X, y)

    result = find(answers(*[0] * 8, 1), data, Noted, search={"halving": 9})
    assert sorted(n for _, n in fits) == [10] * 9 + [30] * 3 + [90]
    assert result.parameters == {"answer": 1}
    assert result.trials[0].head.n_ == 90
    assert [line["share"] for line in result.table] == [0.3333, 0.3333, *[0.1111] * 6, 1.0]


def test_what_did_not_converge_is_said_of_that_setting_alone():
    class Slow(Always):
        def fit(self, X, y):
            if self.answer == 1:
                warnings.warn("not yet", ConvergenceWarning, stacklevel=1)
            return super().fit(X, y)

    result = find(answers(0, 1), build=Slow)
    assert [line["converged"] for line in result.table] == [None, False]
    assert result.trials[0].converged is False


class Picky(Always):
    def fit(self, X, y):
        if self.answer < 1:
            raise ValueError("expected an answer of 1 or more")
        return super().fit(X, y)


def test_a_setting_that_cannot_be_fitted_is_passed_over_and_says_why():
    result = find(answers(0, 1), build=Picky)
    assert result.parameters == {"answer": 1}
    assert result.table[0]["failed"] == "expected an answer of 1 or more"


def test_where_nothing_fits_the_reason_is_the_error():
    with pytest.raises(
        search.NoCandidateFits, match="no setting can be fitted on 2 items: expected an answer of 1 or more"
    ):
        find(answers(0), build=Picky)


def test_outputs_are_tried_in_one_go_with_the_rest_of_the_grid():
    random = np.random.default_rng(0)
    labels = np.tile([0, 1], 60)
    features = random.normal(size=(120, 4)).astype(np.float32)
    features[:, 3] += 3 * labels  # the last output alone knows
    noise = features.copy()
    noise[:, :3] *= 9
    parts = {
        split: LabelledSplit(np.array([f"{split}{i}" for i in range(len(y))]), x, y, np.arange(len(y)).astype(str))
        for split, x, y in (("train", features, labels), ("val", noise, labels), ("test", features, labels))
    }
    factory = head_factory.create(
        PluginEntry(family="linear_probe", parameters={}), "classification", "", columns={"a": [(0, 3)], "b": [(3, 4)]}
    )
    candidates = [{"learning_rate": 0.01, "outputs": outputs} for outputs in (["a"], None, ["b"], ["c"])]
    assert path_fitting.group_candidates(factory.with_seed(0), candidates) == [[0, 1, 2, 3]]
    result = search.search(
        factory, candidates, LabelledData(["x", "y"], parts), Fit(), sample_weighter=lambda labels: None
    )
    assert result.parameters["outputs"] == ["b"]
    assert result.table[0]["accuracy"] < 0.7 < result.table[2]["accuracy"]
    assert "expected some of what the heads see: a, b; found c" in result.table[3]["failed"]
