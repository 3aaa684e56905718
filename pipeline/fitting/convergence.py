"""Did a fit converge? Solvers say so by a warning, which belongs to the fit that gave it and to its record."""

import threading
import warnings
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning


class Complaints:
    """The convergence warnings of fits that run side by side, by thread. Other warnings are shown as ever."""

    def __init__(self) -> None:
        self._of_thread: dict[int, int] = defaultdict(int)

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Listen. Python's warning filters are the whole process's, so this goes around all fits, not around each."""
        with warnings.catch_warnings():
            shown = warnings.showwarning

            def show(message: Any, category: type[Warning], *rest: Any, **more: Any) -> None:
                if issubclass(category, ConvergenceWarning):
                    self._of_thread[threading.get_ident()] += 1
                else:
                    shown(message, category, *rest, **more)

            warnings.simplefilter("always", ConvergenceWarning)
            warnings.showwarning = show
            yield

    def taken(self) -> int:
        """How many came in this thread since it asked last."""
        return self._of_thread.pop(threading.get_ident(), 0)


def converged(head: Any, complaints: int) -> bool | None:
    """Whether a fitted head's solver came to its end; None of a head that has no such end (trees, neighbours)."""
    if complaints:
        return False
    found = [said for part in parts(head) if (said := within_limit(part)) is not None]
    return all(found) if found else None


def within_limit(estimator: Any) -> bool | None:
    """Whether an iterative estimator stopped before its `max_iter`, or what it says itself; None of another."""
    if hasattr(estimator, "converged_"):
        return bool(estimator.converged_)
    if not (hasattr(estimator, "n_iter_") and hasattr(estimator, "max_iter")):
        return None
    return bool(np.max(estimator.n_iter_) < estimator.max_iter)


def parts(head: Any) -> Iterator[Any]:
    """The head and the estimators it is made of, however deep."""
    yield head
    steps = [step for _, step in head.steps] if hasattr(head, "steps") else []
    if hasattr(head, "estimator_"):  # a head behind its preprocessing
        steps.append(head.estimator_)
    for part in steps:
        yield from parts(part)
