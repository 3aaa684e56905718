"""Stage `fit@STORE-HEAD`: choose a head's parameters on val, score the winner once on test, save it."""

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from features import atomic, plugins
from features.errors import IceboxError
from features.store import FeatureStore
from pipeline import bundle, labelled, metrics, paths, search, signature
from pipeline.config import Config


def run(config: Config, key: str) -> None:
    """Write the bundle, its card, the metrics, the predictions and the plots of STORE-HEAD."""
    store_name, head_name = split_key(config, key)
    store = FeatureStore(paths.store(store_name))
    per_class = config.stores[store_name].fit.labels_per_class
    data = labelled.read(store, labels_per_class=None if per_class == "all" else int(per_class), seed=config.fit.seed)
    entry = config.heads[head_name]
    parameters = dict(entry.parameters)
    if signature.accepts(plugins.file("pipeline.heads", entry.family), "build", "seed"):
        parameters.setdefault("seed", config.fit.seed)
    build = plugins.load("pipeline.heads", entry.family).build
    found = search.search(build, search.grid(parameters), data, choose=config.fit.choose)

    backbone = config.stores[store_name].backbone
    saved = bundle.Bundle(
        head=found.head,
        classes=data.classes,
        store=store_name,
        fingerprint=store.fingerprint,
        backbone=backbone,
        family=store.spec["family"],
        outputs=list(store.spec["outputs"]),
        precision=store.spec["precision"],
        stored=store.spec["stored"],
    )
    bundle.save(saved, store=store_name, head=head_name)
    write_results(store_name, head_name, data, found)


def write_results(store: str, head: str, data: labelled.Labelled, found: search.Found) -> None:
    """Metrics, predictions of val and test, and the test split's plots."""
    parts = {"val": data.val, "test": data.test}
    answers = {split: search.answers(found.head, part.features) for split, part in parts.items()}
    result: dict[str, Any] = {
        **{split: score(answers[split], part, len(data.classes)) for split, part in parts.items()},
        "chosen": {name: value for name, value in found.chosen.items() if name != "seed"},
        "settings": len(found.table),
        "train_n": len(data.train.labels),
        "fit_s": round(found.fit_s, 3),
    }
    atomic.write_text(paths.metrics(store, head), json.dumps(result, indent=2) + "\n")

    tables = [predictions(answers[split], part, split, data.classes) for split, part in parts.items()]
    with atomic.replacing(paths.predictions(store, head)) as temporary:
        pq.write_table(pa.concat_tables(tables), temporary)

    confusion = metrics.confusion_csv(data.test.labels, answers["test"].predicted, data.classes)
    atomic.write_text(paths.plot(store, head, "confusion"), confusion)
    atomic.write_text(paths.plot(store, head, "roc"), metrics.roc_csv(data.test.labels, answers["test"].scores))
    val, test = result["val"]["accuracy"], result["test"]["accuracy"]
    print(f"{store} {head}: val {val:.4f}, test {test:.4f}, {found.chosen}")


def score(answers: search.Answers, part: labelled.Part, classes: int) -> dict[str, float]:
    """A split's scores."""
    return metrics.score(part.labels, answers.predicted, answers.scores if answers.probable else None, classes)


def predictions(answers: search.Answers, part: labelled.Part, split: str, classes: list[str]) -> pa.Table:
    """One row an item. `p_CLASS` are probabilities; a head without them gets `score_CLASS`, its margins."""
    names = np.array(classes)
    kind = "p" if answers.probable else "score"
    columns = {
        "item_id": part.item_ids.astype(str),
        "split": np.full(len(part.labels), split),
        "label": names[part.labels],
        "prediction": names[answers.predicted],
    } | {f"{kind}_{name}": answers.scores[:, i].astype(np.float32) for i, name in enumerate(classes)}
    return pa.table(
        {name: pa.array(column.tolist() if column.dtype.kind in "OU" else column) for name, column in columns.items()}
    )


def split_key(config: Config, key: str) -> tuple[str, str]:
    """STORE-HEAD (as DVC names the stage) or STORE/HEAD → its two parts; both may hold dashes themselves."""
    for store in config.stores:
        for head in config.heads:
            if key in (f"{store}-{head}", f"{store}/{head}"):
                return store, head
    raise IceboxError(f"fit {key}: expected STORE-HEAD, a store and a head of params.yaml, found no such pair")
