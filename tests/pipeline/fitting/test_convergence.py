import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.utils.parallel import delayed

from icebox.pipeline.fitting import convergence

X = np.random.default_rng(0).normal(size=(60, 5))
Y = (X @ [1, 2, 3, 4, 5] > 0).astype(int)


def test_each_of_the_fits_side_by_side_hears_of_its_own_failure_only():
    fit_warnings = convergence.ConvergenceWarnings()

    def fit(max_iter: int) -> bool | None:
        head = LogisticRegression(max_iter=max_iter).fit(X, Y)
        return convergence.converged(head, fit_warnings.take())

    with fit_warnings.recorded(), ThreadPoolExecutor(3) as pool:
        assert list(pool.map(fit, [1, 500] * 6)) == [False, True] * 6


def test_a_head_that_does_not_iterate_neither_converges_nor_fails_to():
    assert convergence.converged(KNeighborsClassifier().fit(X, Y), 0) is None


def test_reaching_the_limit_without_a_word_is_not_converging():
    class Silent:
        n_iter_ = np.array([3, 10])
        max_iter = 10

    assert convergence.converged(Silent(), 0) is False


def test_other_warnings_are_shown_as_ever():
    with pytest.warns(UserWarning, match="mind"), convergence.ConvergenceWarnings().recorded():
        warnings.warn("mind", UserWarning, stacklevel=1)


@pytest.mark.parametrize("reset", [False, True], ids=["with their filters", "between another forest's filters"])
def test_forests_in_threads_do_not_warn_of_each_others_filters(reset):
    function, arguments, keywords = delayed(int)("3")
    with warnings.catch_warnings(record=True) as shown, convergence.ConvergenceWarnings().recorded():
        if reset:
            warnings.resetwarnings()
        assert function(*arguments, **keywords) == 3  # warns: nobody handed it filters
    assert not shown
