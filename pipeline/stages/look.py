"""Stage `look@STORE`: a map of the store's test items, their nearest train items, and suspected label errors."""

import hashlib
import json
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from icebox.features import files
from icebox.features.manifest import manifest
from icebox.features.store.feature_store import FeatureStore
from icebox.pipeline.config.schema import Config
from icebox.pipeline.exploration import explore
from icebox.pipeline.project import paths

NOTHING: dict[str, Any] = {"suspects": [], "suspected": 0, "judged": 0, "agreement": None}
SUSPECTS = 60  # kept of each store
FEWEST = 2  # items of a class, below which it can't be judged out of fold


def run(config: Config, key: str) -> None:
    """Write `results/maps/KEY.json` (the report shows it), and what is in it in short, which git keeps."""
    store, seed = FeatureStore(paths.store(key)), config.fit.seed
    dataset = config.stores[key].dataset
    with threadpool_limits(1), tqdm(total=3, desc=f"look {key}", unit="view", disable=None) as bar:
        found: dict[str, Any] = {"store": key, "map": mapped(store, seed)}
        bar.update()
        found["nearest"] = nearest(store)
        bar.update()
        classes = config.datasets[dataset].task == "classification"
        found |= suspects(store, dataset, seed) if classes else NOTHING
        bar.update()
    text = json.dumps(found, ensure_ascii=False, separators=(",", ":")) + "\n"
    files.write_text(paths.feature_map(key), text)
    summary = {
        "mapped": len(found["map"]["item_ids"]),
        "suspected": found["suspected"],
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
    }
    files.write_text(paths.look(key), json.dumps(summary, indent=2) + "\n")
    print(f"{key}: {summary['mapped']:,} test items mapped, {summary['suspected']:,} labels suspected")


def mapped(store: FeatureStore, seed: int) -> dict[str, Any]:
    """Test items and where they lie."""
    items = explore.sample(store.items("test"), explore.MAPPED, seed=seed)
    places = explore.placed(explore.reduced(store.load_items(items), seed=seed), seed=seed)
    return {"item_ids": store.item_ids[items].tolist(), **{name: points.tolist() for name, points in places.items()}}


def nearest(store: FeatureStore) -> dict[str, list[Any]]:
    """By id of each test item, further test sets included: [id, cosine] of the most similar train items."""
    train = store.items("train")
    tests = np.flatnonzero(np.char.startswith(store.splits.astype(str), "test"))
    places, cosines = explore.nearest(store.load_items(tests), store.load_items(train))
    return {
        str(store.item_ids[item]): [
            [str(store.item_ids[train[place]]), round(float(cosine), 3)]
            for place, cosine in zip(places[i], cosines[i], strict=True)
        ]
        for i, item in enumerate(tests)
    }


def suspects(store: FeatureStore, dataset: str, seed: int) -> dict[str, Any]:
    """Items of any split, the surest first; and how often the judging head agrees with the labels at all."""
    every = store.labels.astype(str)
    names, counts = np.unique(every, return_counts=True)
    items = np.flatnonzero(np.isin(every, names[counts >= FEWEST]))
    items = explore.sample(items, explore.JUDGED, seed=seed)
    classes, labels = np.unique(every[items], return_inverse=True)
    if len(classes) < 2 or np.bincount(labels).min() < FEWEST:
        return NOTHING
    components = explore.reduced(store.load_items(items), seed=seed)
    probabilities = explore.out_of_fold(components, labels, groups(store, dataset)[items], seed=seed)
    found = explore.suspects(probabilities, labels, classes.tolist())
    listed = [
        {
            "item_id": str(store.item_ids[items[suspect.item]]),
            "split": str(store.splits[items[suspect.item]]),
            "label": str(classes[labels[suspect.item]]),
            "suggested": suspect.suggested,
            "confidence": suspect.confidence,
            "of_label": suspect.of_label,
        }
        for suspect in found[:SUSPECTS]
    ]
    agreement = float((probabilities.argmax(axis=1) == labels).mean())
    return {"suspects": listed, "suspected": len(found), "judged": len(items), "agreement": round(agreement, 4)}


def groups(store: FeatureStore, dataset: str) -> np.ndarray:
    """A number (n,) for each item's group: what comes together, or has equal content, is judged together."""
    path = paths.manifest(dataset)
    known = {row.item_id: row.group or row.item_key for row in manifest.read(path)} if path.exists() else {}
    return np.unique([known.get(item_id, item_id) for item_id in store.item_ids.tolist()], return_inverse=True)[1]
