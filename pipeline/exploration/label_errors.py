"""Suspected label errors: items whose label is confidently contradicted by their neighbors in feature space.

Letters: n items, d features, k classes.
"""

import warnings
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

FOLDS = 5
CONFIDENCE_MIN = 0.8  # a lower probability of another class is no reason for suspicion


@dataclass(frozen=True)
class SuspectedLabel:
    """An item (its position), the class that its features suggest, and the probabilities of that and of its label."""

    item: int
    suggested: str
    confidence: float
    label_probability: float


def out_of_fold_probabilities(
    components: np.ndarray, labels: np.ndarray, groups: np.ndarray, *, seed: int
) -> np.ndarray:
    """Probabilities (n, k) by logistic heads, each item's by one that was fitted without the item and its group.

    components: (n, d); labels: (n,) class numbers, each class at least twice; groups: (n,).
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    folds = StratifiedGroupKFold(min(FOLDS, int(np.bincount(labels).min())), shuffle=True, random_state=seed)
    head = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500))
    with warnings.catch_warnings(), threadpool_limits(1):
        # a head that has not quite converged, or a class whose items all lie in one group, is judged as well as can be
        warnings.simplefilter("ignore", RuntimeWarning)
        warnings.simplefilter("ignore", ConvergenceWarning)
        probabilities = cross_val_predict(head, components, labels, groups=groups, cv=folds, method="predict_proba")
    return np.asarray(probabilities)


def find_label_errors(probabilities: np.ndarray, labels: np.ndarray, classes: list[str]) -> list[SuspectedLabel]:
    """Items whose label is confidently contradicted, the surest first (confident learning, Northcutt et al. 2021).

    A class is confidently predicted where its probability reaches CONFIDENCE_MIN and the mean that it has over the
    items labelled so: the first keeps a weak head quiet, the second adapts to the head's confidence in each class.
    probabilities: (n, k), out of fold; labels: (n,).
    """
    label_probabilities = probabilities[np.arange(len(labels)), labels]
    thresholds = np.array([max(CONFIDENCE_MIN, label_probabilities[labels == c].mean()) for c in range(len(classes))])
    confident = np.where(probabilities >= thresholds, probabilities, -1.0)
    suggested = confident.argmax(axis=1)
    lead = confident.max(axis=1) - label_probabilities
    suspected = np.flatnonzero((suggested != labels) & (lead > 0))
    order = suspected[np.argsort(-lead[suspected], kind="stable")]
    return [
        SuspectedLabel(
            int(i),
            classes[suggested[i]],
            round(float(probabilities[i, suggested[i]]), 3),
            round(float(label_probabilities[i]), 3),
        )
        for i in order
    ]
