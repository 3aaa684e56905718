"""Gain of a frozen network over pixels where labels are few: glyphnet against pixels on digits, paired by draw.

Run after `make`, in the project's root: python -m benchmarks.few_labels [LABELS_PER_CLASS] [DRAWS]

Each draw takes other labelled items (train and val alike); all heads of params.yaml are searched; the best on val is
scored on test. Draws are interleaved between the two stores.
"""

import sys

import numpy as np

from icebox.features.store.feature_store import FeatureStore
from icebox.pipeline.config import loader
from icebox.pipeline.data import labelled
from icebox.pipeline.fitting import candidates, final_fit, head_factory
from icebox.pipeline.project import paths

STORES = ("digits-glyphnet", "digits-pixels")


def best_head(params: loader.Config, store: str, labels_per_class: int, seed: int) -> tuple[str, float]:
    """(name, test accuracy) of the head that is best on val; among equals the first in params.yaml."""
    data = labelled.subsample_per_class(labelled.load(FeatureStore(paths.store(store))), labels_per_class, seed=seed)
    fit = params.fit_options(store).model_copy(update={"seed": seed, "seeds": 1})
    scored = []
    for head in params.heads:
        factory = head_factory.create(params.heads[head], data.task, f"heads.{head}")
        grid = candidates.generate(params.heads[head].parameters, fit.search, seed=seed)
        result = final_fit.fit_head(factory, grid, data, fit, sample_weighter=lambda labels: None)
        scored.append((result.search.scores["accuracy"], head, result.seeds[0].tests["test"].scores["accuracy"]))
    _, head, test = max(scored, key=lambda line: line[0])
    return head, test


def main(labels_per_class: int = 5, draws: int = 10) -> None:
    """Print a line for each draw, then the means and the paired difference."""
    params = loader.load()
    results = []
    for seed in range(draws):
        best = [best_head(params, name, labels_per_class, seed) for name in STORES]
        results.append([test for _, test in best])
        print(f"draw {seed}: " + ", ".join(f"{n} {t:.4f} ({h})" for n, (h, t) in zip(STORES, best, strict=True)))
    scores = np.array(results)
    for name, column in zip(STORES, scores.T, strict=True):
        print(f"{name}: {column.mean():.4f} ± {column.std(ddof=1):.4f} (sd over {draws} draws)")
    difference = scores[:, 0] - scores[:, 1]
    print(f"difference: {difference.mean():+.4f}, smallest {difference.min():+.4f}")


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
