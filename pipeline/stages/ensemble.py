"""Stage `ensemble@STORE`: the heads that are best on val answer together, by the mean of their probabilities.

Nothing is fitted: what its members said of val and the test sets lies in their predictions.
"""

from dataclasses import dataclass, replace

import numpy as np
import pyarrow.parquet as pq

from icebox.features.errors import IceboxError
from icebox.pipeline.config.schema import Config
from icebox.pipeline.data.labelled import LabelledSplit
from icebox.pipeline.estimators.ensemble import Mean, mean
from icebox.pipeline.evaluation import metrics, peak_memory, results
from icebox.pipeline.evaluation.predictions import Predictions, ScoredSplit, score_predictions
from icebox.pipeline.inference import bundle
from icebox.pipeline.project import paths

PROBABILITY = "p_"


@dataclass(frozen=True)
class Said:
    """What a head said of one split: ids and labels (n,) as text, probabilities (n, k)."""

    item_ids: np.ndarray
    labels: np.ndarray
    probabilities: np.ndarray


def run(config: Config, key: str) -> None:
    """Choose the members on val, and write what a head's fit writes."""
    if key not in config.select.ensembles:
        raise IceboxError(f"ensemble {key}: expected a store of select.ensembles, found {config.select.ensembles}")
    fit = config.fit_options(key)
    said = {head: found for head in config.select.heads if (found := read(key, head))}
    if len(said) < 2 or not all("val" in splits for splits in said.values()):
        raise IceboxError(
            f"select.ensembles: {key}: expected two selected heads or more with probabilities of val, "
            f"found {', '.join(said) or 'none'}"
        )
    bundles = {head: bundle.load(paths.bundle(key, head)) for head in said}
    classes = next(iter(bundles.values())).classes
    val = {head: scored(splits["val"], splits["val"].probabilities, classes).scores for head, splits in said.items()}
    ranked = sorted(said, key=lambda head: -metrics.utility(val[head], fit.choose))  # among equals the first selected
    members = ranked[: fit.ensemble]
    splits = {
        split: scored(of, mean([said[head][split].probabilities for head in members]), classes)
        for split, of in said[members[0]].items()
    }
    together = Mean([bundles[head].head for head in members], len(classes))
    bundle.save(replace(bundles[members[0]], head=together), store=key, head=paths.ENSEMBLE)
    results.write(
        key,
        paths.ENSEMBLE,
        classes=classes,
        splits=splits,
        val=splits["val"].scores,
        numbers={"train_n": 0, "fit_s": 0.0, "predict_s": 0.0},
        details={
            "task": "classification",
            "chosen": {"members": members},
            "settings": len(said),
            "chosen_on": "val",
            "choose": fit.choose,
            "refit": fit.refit,
            "converged": None,
            "ensemble": members,
            "class_weights": config.stores[key].fit.class_weights,
            "bundle_bytes": paths.bundle(key, paths.ENSEMBLE).stat().st_size,
            "peak_memory_bytes": peak_memory.peak_bytes(),
            "seeds": [],
            "labels": [],
            "search": [{"head": head, **val[head]} for head in ranked],
        },
    )
    print(f"{key} {paths.ENSEMBLE}: {' + '.join(members)}: test accuracy {splits['test'].scores['accuracy']:.4f}")


def read(store: str, head: str) -> dict[str, Said]:
    """What a head said by split; nothing of one without probabilities."""
    path = paths.predictions(store, head)
    if not path.exists():  # in a clone, where --allow-missing let it be
        raise IceboxError(f"{path}: not found; run: dvc pull {path} {paths.bundle(store, head)} (or dvc repro)")
    table = pq.ParquetFile(path).read()
    columns = [name for name in table.column_names if name.startswith(PROBABILITY)]
    if not columns:
        return {}
    split = np.array(table["split"].to_pylist(), object)
    ids, labels = (np.array(table[name].to_pylist(), object) for name in ("item_id", "label"))
    values = np.column_stack([np.array(table[name].to_pylist()) for name in columns])
    of = {name: split == name for name in dict.fromkeys(split.tolist())}
    return {name: Said(ids[rows], labels[rows], values[rows]) for name, rows in of.items()}


def scored(said: Said, probabilities: np.ndarray, classes: list[str]) -> ScoredSplit:
    """A split with probabilities (n, k) for it, and their scores."""
    probabilities = probabilities / probabilities.sum(axis=1, keepdims=True)  # they were kept as float32
    labels = np.array([classes.index(label) for label in said.labels])
    part = LabelledSplit(said.item_ids, np.empty((len(labels), 0), np.float32), labels, said.item_ids)
    return score_predictions(
        part, Predictions(probabilities.argmax(axis=1), probabilities, has_probabilities=True), len(classes)
    )
