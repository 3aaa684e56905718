"""Convergence of fits: a solver's ConvergenceWarning is attributed to the fit that raised it, and recorded with it."""

import re
import threading
import warnings
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

# scikit-learn's forests hand the process's filters on to their trees and set them anew there. Two forests in two
# threads find the other's filters when they are empty, take that for a call without them, and warn of it.
EMPTY_FILTERS = "`sklearn.utils.parallel.delayed` should be used with"


class ConvergenceWarnings:
    """Counts the convergence warnings of fits that run in parallel, by thread. Other warnings are shown as usual."""

    def __init__(self) -> None:
        self._of_thread: dict[int, int] = defaultdict(int)

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """Record. Python's warning filters are the whole process's, so this goes around all fits, not around each."""
        with warnings.catch_warnings():
            original = warnings.showwarning

            def show(message: Any, category: type[Warning], *args: Any, **kwargs: Any) -> None:
                if issubclass(category, ConvergenceWarning):
                    self._of_thread[threading.get_ident()] += 1
                elif not str(message).startswith(EMPTY_FILTERS):
                    original(message, category, *args, **kwargs)

            warnings.simplefilter("always", ConvergenceWarning)
            # scikit-learn's estimate of a covariance, of a class with a single item: its own scatter is 0, as it says
            warnings.filterwarnings("ignore", "Only one sample available")
            warnings.filterwarnings("ignore", re.escape(EMPTY_FILTERS))
            warnings.showwarning = show
            yield

    def take(self) -> int:
        """The number of warnings in this thread since the last call."""
        return self._of_thread.pop(threading.get_ident(), 0)


def converged(head: Any, warned: int) -> bool | None:
    """Whether a fitted head's solver converged; None for a head without an iterative solver (trees, neighbors).

    `warned`: the number of convergence warnings of its fit.
    """
    if warned:
        return False
    results = [result for part in nested_estimators(head) if (result := within_limit(part)) is not None]
    return all(results) if results else None


def within_limit(estimator: Any) -> bool | None:
    """The estimator's own `converged_`, or whether it stopped before its `max_iter`; None where it has neither."""
    if hasattr(estimator, "converged_"):
        return bool(estimator.converged_)
    if not (hasattr(estimator, "n_iter_") and hasattr(estimator, "max_iter")):
        return None
    return bool(np.max(estimator.n_iter_) < estimator.max_iter)


def nested_estimators(head: Any) -> Iterator[Any]:
    """The head and the estimators inside it, however deep."""
    yield head
    inner = [step for _, step in head.steps] if hasattr(head, "steps") else []
    if hasattr(head, "estimator_"):  # a head behind its preprocessing
        inner.append(head.estimator_)
    for estimator in inner:
        yield from nested_estimators(estimator)
