import numpy as np
import pytest
from sklearn.datasets import make_moons

from icebox.pipeline.heads import mlp


def moons(n: int, seed: int = 0):
    X, y = make_moons(n, noise=0.2, random_state=seed)
    return X.astype(np.float32), y


@pytest.mark.parametrize(
    "options", [{}, {"layers": 2}, {"label_smoothing": 0.1}, {"mixup": 0.4}, {"dropout": 0.0, "layers": 3}]
)
def test_it_learns_what_no_line_separates(options):
    X, y = moons(400)
    assert mlp.build(hidden=64, learning_rate=0.03, batch_size=32, **options).fit(X, y).score(*moons(400, 1)) > 0.93


def test_it_keeps_the_epoch_that_was_best_on_val_and_a_refit_stops_there():
    X, y = moons(120)
    noisy = np.where(np.random.default_rng(0).random(120) < 0.3, 1 - y, y)  # so that more epochs are worse
    head = mlp.build(epochs=200, hidden=128, dropout=0.0, learning_rate=0.01, patience=5).fit(
        X, noisy, val=moons(200, 1)
    )
    stop = head.refit_parameters()["stop_after"]
    assert 1 <= stop < 100
    again = mlp.build(epochs=200, hidden=128, dropout=0.0, learning_rate=0.01, stop_after=stop).fit(X, noisy)
    for ours, theirs in zip(head.estimator_.layers_, again.estimator_.layers_, strict=True):
        np.testing.assert_array_equal(ours[0], theirs[0])


def test_without_val_it_says_nothing_about_a_refit():
    assert mlp.build(epochs=2).fit(*moons(50)).refit_parameters() == {}


def test_weights_of_0_are_items_left_out():
    X, y = moons(200)
    wrong = np.concatenate([y, 1 - y])
    head = mlp.build(learning_rate=0.01).fit(np.vstack([X, X]), wrong, sample_weight=np.repeat([1.0, 0.0], 200))
    assert head.score(X, y) > 0.9


def test_label_smoothing_and_mixup_make_it_less_sure():
    X, y = moons(300)
    plain, smoothed, mixed = (
        mlp.build(learning_rate=0.01, **options).fit(X, y).predict_proba(X).max(axis=1).mean()
        for options in ({}, {"label_smoothing": 0.2}, {"mixup": 1.0})
    )
    assert plain > smoothed + 0.03
    assert plain > mixed + 0.03


def test_values_come_back_in_their_own_unit():
    X = np.linspace(-1, 1, 300, dtype=np.float32)[:, None]
    y = 1000 + 50 * np.sin(4 * X[:, 0])
    assert mlp.build(task="regression", learning_rate=0.01, dropout=0.0, epochs=100).fit(X, y).score(X, y) > 0.98
