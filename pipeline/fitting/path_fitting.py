"""Settings of a head that are fitted in one go, where its family can: a path of penalties, a grid of learning rates."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from icebox.pipeline.data.on_disk import DiskFeatures
from icebox.pipeline.estimators.base import fit_keywords, path_parameters

Settings = Sequence[Mapping[str, Any]]


def groups(build: Callable[..., Any], settings: Settings) -> list[list[int]]:
    """Positions of the settings that can be fitted in one go; of most families each stands alone."""
    free = path_parameters(build(**settings[0]))
    found: dict[str, list[int]] = {}
    for position, setting in enumerate(settings):
        fixed = {name: value for name, value in setting.items() if name not in free}
        found.setdefault(repr(fixed) if free else str(position), []).append(position)
    return list(found.values())


def fit(
    build: Callable[..., Any], settings: Settings, X: np.ndarray | DiskFeatures, y: np.ndarray, **given: Any
) -> Iterator[tuple[int, Any, float]]:
    """(position, fitted head, seconds it took after the one before) of the settings of one group.

    `given`: `sample_weight` and `val`; a head that does not take one is fitted without it.
    """
    head = build(**settings[0])
    taken = {name: value for name, value in given.items() if name in fit_keywords(head) and value is not None}
    started_s = time.perf_counter()
    if free := path_parameters(head):
        differing = [{name: value for name, value in setting.items() if name in free} for setting in settings]
        for position, fitted in head.fit_path(X, y, differing, **taken):
            yield position, fitted, time.perf_counter() - started_s
            started_s = time.perf_counter()
        return
    for position, setting in enumerate(settings):
        fitted = build(**setting).fit(X, y, **taken)
        yield position, fitted, time.perf_counter() - started_s
        started_s = time.perf_counter()
