import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor

from icebox.pipeline.heads import hist_gb

random = np.random.default_rng(0)
X = random.normal(size=(400, 5)).astype(np.float32)
Y = (X[:, 0] + random.normal(size=400) > 0).astype(int)


def test_it_stops_where_val_has_seen_enough_and_says_how_many_trees_that_took():
    head = hist_gb.build(max_iter=100, n_iter_no_change=3).fit(X[:300], Y[:300], val=(X[300:], Y[300:]))
    trees = head.refit_parameters()["max_iter"]
    assert 3 < trees < 100
    assert hist_gb.build(max_iter=trees).fit(X, Y).estimator_.model_.n_iter_ == trees


def test_without_val_it_grows_all_trees():
    head = hist_gb.build(max_iter=30).fit(X, Y)
    assert head.estimator_.model_.n_iter_ == 30
    assert head.refit_parameters() == {}


def test_its_values_are_scikit_learns():
    y = X @ np.arange(5)
    ours = hist_gb.build(task="regression", max_iter=20, max_features=1.0).fit(X, y)
    theirs = HistGradientBoostingRegressor(
        max_iter=20, max_leaf_nodes=15, max_bins=63, min_samples_leaf=5, early_stopping=False
    ).fit(X, y)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-6)
