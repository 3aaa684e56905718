import numpy as np

from icebox.pipeline.fitting import path_fitting
from icebox.pipeline.heads import knn, logreg

X = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
Y = (X[:, 0] > 0).astype(int)


def test_candidates_that_differ_in_the_path_alone_go_together():
    candidates = [{"C": C, "scale": scale} for C in (1.0, 2.0) for scale in ("each", "none")]
    assert path_fitting.group_candidates(logreg.build, candidates) == [[0, 2], [1, 3]]


def test_of_other_families_each_stands_alone():
    assert path_fitting.group_candidates(knn.build, [{"n_neighbors": 1}, {"n_neighbors": 3}]) == [[0], [1]]


def test_every_candidate_gets_its_own_head_whatever_the_order():
    candidates = [{"C": 100.0}, {"C": 0.01}]
    heads = {position: head for position, head, _ in path_fitting.fit(logreg.build, candidates, X, Y)}
    assert [heads[i].estimator_.C for i in (0, 1)] == [100.0, 0.01]
    assert np.abs(heads[0].estimator_.coef_).max() > 5 * np.abs(heads[1].estimator_.coef_).max()


def test_weights_are_left_out_where_a_head_does_not_take_them():
    weights = np.ones(60)
    for build, candidates in ((knn.build, [{"n_neighbors": 1}, {"n_neighbors": 3}]), (logreg.build, [{"C": 1.0}])):
        fits = list(path_fitting.fit(build, candidates, X, Y, sample_weight=weights, val=(X, Y)))
        assert [position for position, _, _ in fits] == list(range(len(candidates)))
        assert all(took_s > 0 for _, _, took_s in fits)
