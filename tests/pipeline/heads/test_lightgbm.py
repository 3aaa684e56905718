import lightgbm as library
import numpy as np
import pytest

from icebox.pipeline.data import feature_selection
from icebox.pipeline.data.on_disk import DiskFeatures
from icebox.pipeline.heads import lightgbm
from tests.features.store.test_streaming import made

random = np.random.default_rng(0)
X = random.normal(size=(400, 5)).astype(np.float32)
Y = (X[:, 0] + random.normal(size=400) > 0).astype(int)
OURS = {"num_leaves": 24, "learning_rate": 0.2, "max_bin": 63, "min_child_samples": 5, "n_estimators": 20}


@pytest.mark.parametrize("classes", [2, 3])
def test_its_probabilities_are_those_of_lightgbms_own_estimator(classes):
    y = np.digitize(X[:, 0] + X[:, 1], [0, 1][: classes - 1])
    weights = random.uniform(0.5, 2, 400)
    ours = lightgbm.build(n_estimators=20, colsample_bytree=1.0).fit(X, y, sample_weight=weights)
    theirs = library.LGBMClassifier(**OURS, n_jobs=1, verbose=-1).fit(X, y, weights)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-6)


def test_it_keeps_the_trees_that_were_best_on_val_and_says_how_many():
    head = lightgbm.build(n_estimators=200, early_stopping_round=5).fit(X[:300], Y[:300], val=(X[300:], Y[300:]))
    trees = head.refit_parameters()["n_estimators"]
    assert 1 <= trees < 200
    again = lightgbm.build(n_estimators=trees).fit(X[:300], Y[:300])
    np.testing.assert_allclose(head.predict_proba(X), again.predict_proba(X))


def test_values():
    y = 50 + X @ np.arange(5)
    head = lightgbm.build(task="regression", colsample_bytree=1.0).fit(X, y)
    assert head.score(X, y) > 0.95


def test_it_learns_the_same_from_rows_on_disk_as_from_the_array(tmp_path):
    store = made(tmp_path, range(400), shard_rows=50)
    y = (np.arange(400) % 100 < 50).astype(int)
    rows = DiskFeatures(store, np.arange(400), feature_selection.select(store))
    from_disk, from_array = (lightgbm.build(n_estimators=5).fit(data, y) for data in (rows, np.asarray(rows)))
    np.testing.assert_array_equal(from_disk.predict_proba(rows[:]), from_array.predict_proba(rows[:]))
    assert from_disk.score(rows[:], y) > 0.9
