"""Fitting candidates, in one go where their family can (`PathHead` of `pipeline/estimators/base.py`)."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from icebox.pipeline.data.on_disk import DiskFeatures
from icebox.pipeline.estimators.base import Build, fit_keywords, path_parameters

Candidates = Sequence[Mapping[str, Any]]


def group_candidates(build: Build, candidates: Candidates) -> list[list[int]]:
    """Positions of the candidates that can be fitted in one go; of most families each is a group of its own."""
    free = path_parameters(build(**candidates[0]))
    groups: dict[str, list[int]] = {}
    for position, candidate in enumerate(candidates):
        fixed = {name: value for name, value in candidate.items() if name not in free}
        groups.setdefault(repr(fixed) if free else str(position), []).append(position)
    return list(groups.values())


def fit(
    build: Build, candidates: Candidates, X: np.ndarray | DiskFeatures, y: np.ndarray, **fit_params: Any
) -> Iterator[tuple[int, Any, float]]:
    """(position, fitted head, seconds since the one before) of the candidates of one group.

    `fit_params`: `sample_weight` and `val`; a head that does not take one is fitted without it.
    """
    head = build(**candidates[0])
    keywords = fit_keywords(head)
    fit_params = {name: value for name, value in fit_params.items() if name in keywords and value is not None}
    started_s = time.perf_counter()
    if free := path_parameters(head):
        path = [{name: value for name, value in candidate.items() if name in free} for candidate in candidates]
        for position, fitted in head.fit_path(X, y, path, **fit_params):
            yield position, fitted, time.perf_counter() - started_s
            started_s = time.perf_counter()
        return
    for position, candidate in enumerate(candidates):
        fitted = build(**candidate).fit(X, y, **fit_params)
        yield position, fitted, time.perf_counter() - started_s
        started_s = time.perf_counter()
