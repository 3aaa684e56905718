"""A grid of a head's parameters, each fitted on train and scored on val; the best one wins."""

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import joblib
import numpy as np
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from pipeline import metrics
from pipeline.labelled import Labelled, Part

Build = Callable[..., Any]


@dataclass(frozen=True)
class Found:
    """The winner: the fitted head, its parameters, the seconds its own fit took, and every setting's val score."""

    head: Any
    chosen: dict[str, Any]
    fit_s: float
    table: list[dict[str, Any]]


@dataclass(frozen=True)
class Answers:
    """What a head says of n items: class numbers (n,) and scores (n, k), which are probabilities or else margins."""

    predicted: np.ndarray
    scores: np.ndarray
    probable: bool


def grid(parameters: dict[str, Any]) -> list[dict[str, Any]]:
    """Every combination of the parameters that are lists. The last one varies fastest."""
    choices = [value if isinstance(value, list) else [value] for value in parameters.values()]
    return [dict(zip(parameters, combination, strict=True)) for combination in itertools.product(*choices)]


def search(build: Build, settings: list[dict[str, Any]], data: Labelled, *, choose: str) -> Found:
    """Fit every setting on train, score it on val by `choose`; among equals the first of the grid wins.

    Fits run side by side, each on one BLAS thread: two threads each on busy cores were 9–19 times slower.
    """
    with threadpool_limits(1):
        fits = joblib.Parallel(n_jobs=min(len(settings), joblib.cpu_count()), prefer="threads", return_as="generator")(
            joblib.delayed(fit)(build, setting, data) for setting in settings
        )
        fitted = list(tqdm(fits, total=len(settings), desc="fit", unit="setting", disable=None))
    if choose not in fitted[0][2]:
        choose = "accuracy"  # a head without probabilities has no log loss
    values = [scores[choose] for _, _, scores in fitted]
    best = int(np.argmin(values) if choose == "log_loss" else np.argmax(values))
    head, fit_s, _ = fitted[best]
    table = [{**setting, "fit_s": took, **scores} for setting, (_, took, scores) in zip(settings, fitted, strict=True)]
    return Found(head, settings[best], fit_s, table)


def fit(build: Build, setting: dict[str, Any], data: Labelled) -> tuple[Any, float, dict[str, float]]:
    """(fitted head, seconds, its scores on val) of one setting."""
    head = build(**setting)
    started_s = time.perf_counter()
    head.fit(data.train.features, data.train.labels)
    took_s = time.perf_counter() - started_s
    return head, took_s, judge(head, data.val, len(data.classes))


def judge(head: Any, part: Part, classes: int) -> dict[str, float]:
    """The head's scores on one split."""
    return metrics.score(part.labels, head.predict(part.features), probabilities(head, part.features), classes)


def answers(head: Any, features: np.ndarray) -> Answers:
    """Ask a head once for all that is written about a split."""
    return Answers(head.predict(features), scores(head, features), hasattr(head, "predict_proba"))


def probabilities(head: Any, features: np.ndarray) -> np.ndarray | None:
    """(n, k) probabilities, or None of a head that has none."""
    return head.predict_proba(features) if hasattr(head, "predict_proba") else None


def scores(head: Any, features: np.ndarray) -> np.ndarray:
    """(n, k) probabilities, or else the decision function's values, one column a class."""
    known = probabilities(head, features)
    if known is not None:
        return known
    margins: np.ndarray = head.decision_function(features)
    return np.column_stack([-margins, margins]) if margins.ndim == 1 else margins
