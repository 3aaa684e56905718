"""Ways to choose a head's settings where labels are few, paired by draw: on val, or by folds of all, as by default.

Run where a project's stores are: python -m benchmarks.few_labels_choice STORE HEAD [LABELS_PER_CLASS] [DRAWS]

Each draw takes other labelled items, as many of a class for train as for val. All ways see the same items.
"""

import sys
from typing import Any

import numpy as np

from icebox.features.store.feature_store import FeatureStore
from icebox.pipeline.config import loader
from icebox.pipeline.data import labelled
from icebox.pipeline.data.labelled import LabelledData
from icebox.pipeline.fitting import candidates, final_fit, head_factory, learning_curve
from icebox.pipeline.project import paths

WAYS: dict[str, dict[str, Any]] = {
    "on val": {"few_labels": "val"},
    "refit": {"refit": "train+val"},
    "by default": {},  # the log loss on folds of train and val, and a refit
}


def score(params: loader.Config, store: str, head: str, data: LabelledData, seed: int, way: dict[str, Any]) -> float:
    """The test accuracy of a head whose settings were chosen in one way."""
    fit = params.fit_options(store).model_copy(update={"seed": seed, "seeds": 1, **way})
    factory = head_factory.create(params.heads[head], data.task, f"heads.{head}")
    grid = candidates.generate(params.heads[head].parameters, fit.search, seed=seed)
    fit = learning_curve.settled(fit, data)
    result = final_fit.fit_head(factory, grid, data, fit, sample_weighter=lambda labels: None)
    return result.seeds[0].tests["test"].scores["accuracy"]


def compare(params: loader.Config, store: str, head: str, data: LabelledData, labels: int, draws: int) -> np.ndarray:
    """Test accuracies (draws, ways)."""
    scores = []
    for seed in range(draws):
        drawn = labelled.subsample_per_class(data, labels, seed=seed)
        scores.append([score(params, store, head, drawn, seed, way) for way in WAYS.values()])
        print(f"draw {seed}: {', '.join(f'{each:.4f}' for each in scores[-1])}", flush=True)
    return np.array(scores)


def main(store: str, head: str, labels_per_class: int = 5, draws: int = 20) -> None:
    """Print the mean accuracy of each way and its paired difference to choosing on val, with the standard error."""
    params, data = loader.load(), labelled.load(FeatureStore(paths.store(store)))
    scores = compare(params, store, head, data, labels_per_class, draws)
    print(f"{store}/{head}, {labels_per_class} labels a class for train and for val each, {draws} draws")
    for name, column in zip(WAYS, scores.T, strict=True):
        for other, reference in (("val", scores[:, 0]), ("refit", scores[:, 1])):
            gain = column - reference
            error = gain.std(ddof=1) / np.sqrt(draws)
            print(f"{name}: {column.mean():.4f}, against {other} {gain.mean():+.4f} ± {error:.4f}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:3], *map(int, sys.argv[3:]))
