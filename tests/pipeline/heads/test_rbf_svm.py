import numpy as np
from sklearn.datasets import make_circles
from sklearn.svm import SVC

from icebox.pipeline.estimators.preprocessing import PreprocessedHead
from icebox.pipeline.heads import rbf_svm


def rings(n: int):
    X, y = make_circles(n, noise=0.1, factor=0.4, random_state=0)
    return X.astype(np.float32), y


def test_gamma_1_is_scikit_learns_scale():
    X, y = rings(200)
    ours, theirs = rbf_svm.build(scale="none").fit(X, y), SVC().fit(X, y)
    np.testing.assert_allclose(ours.decision_function(X), theirs.decision_function(X), rtol=1e-4, atol=1e-4)


def test_many_items_are_answered_as_each_alone():
    X, y = rings(50)
    head, (many, _) = rbf_svm.build().fit(X, y), rings(2 * rbf_svm.PREDICT_BATCH + 1)
    margins = head.decision_function(many)
    assert margins.shape == (len(many),)
    for i in (0, rbf_svm.PREDICT_BATCH, len(many) - 1):
        np.testing.assert_allclose(head.decision_function(many[i : i + 1]), margins[i : i + 1], rtol=1e-4, atol=1e-6)


def test_past_its_size_it_agrees_with_the_exact_one():
    X, y = rings(600)
    exact, through = rbf_svm.build().fit(X, y), rbf_svm.build(exact_until=100, n_components=50).fit(X, y)
    assert isinstance(exact.estimator_.model_, SVC)
    assert not isinstance(through.estimator_.model_, SVC)
    assert isinstance(through, PreprocessedHead)
    new, labels = rings(1000)
    assert through.score(new, labels) > exact.score(new, labels) - 0.01 > 0.95


def test_it_can_do_values():
    X = np.linspace(-3, 3, 200)[:, None]
    for size in (1000, 100):
        head = rbf_svm.build(task="regression", exact_until=size, n_components=50, C=100.0).fit(X, 7 * np.sin(X[:, 0]))
        assert head.score(X, 7 * np.sin(X[:, 0])) > 0.98
