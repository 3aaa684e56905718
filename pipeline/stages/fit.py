"""Stage `fit@STORE-HEAD`: choose a head's parameters, fit it as it is used, score it once on test, save it."""

from typing import Any

from icebox.features.errors import IceboxError, located
from icebox.features.store.feature_store import FeatureStore
from icebox.pipeline.catalog import datasets
from icebox.pipeline.config.schema import Config, Fit
from icebox.pipeline.data import class_weights, feature_selection, labelled
from icebox.pipeline.evaluation import peak_memory, results
from icebox.pipeline.fitting import fit_head, head_factory, learning_curve
from icebox.pipeline.fitting.fit_head import Learnt
from icebox.pipeline.fitting.parameter_grid import settings
from icebox.pipeline.inference import bundle
from icebox.pipeline.project import paths


def run(config: Config, key: str) -> None:
    """Write the bundle, its card, the metrics, the details, the predictions and the plots of STORE-HEAD."""
    store_name, head_name = split_key(config, key)
    store, fit = FeatureStore(paths.store(store_name)), config.fit_options(store_name)
    entry = config.stores[store_name]
    given = entry.fit
    selection = feature_selection.select(store, outputs=given.outputs, views=given.expanded_views)
    data = labelled.load(store, task=config.task(store_name), selection=selection)
    weigh = class_weights.sample_weighter(given.class_weights, data.classes, f"stores.{store_name}.fit.class_weights")
    made = head_factory.maker(
        config.heads[head_name], data.task, f"heads.{head_name}", columns=selection.column_ranges(store)
    )
    tried = settings(config.heads[head_name].parameters, fit.search, seed=fit.seed)
    points = learning_curve.in_order(given.labels_per_class)
    here = learning_curve.drawn(data, points[-1], fit.seed)
    with located(f"stores.{store_name}"):
        learnt = fit_head.learn(made, tried, here, fit, weigh=weigh)
        curve = (
            learning_curve.curve(made, tried, data, points, fit, weigh=weigh, main=learnt) if len(points) > 1 else []
        )
    saved = bundle.Bundle(
        head=learnt.seeds[0].fitted.head,
        task=data.task,
        classes=data.classes,
        store=store_name,
        fingerprint=store.fingerprint,
        backbone=entry.backbone,
        family=store.spec["family"],
        outputs=list(store.spec["outputs"]),
        precision=store.spec["precision"],
        stored=store.spec["stored"],
        options=entry.extract.options,
        sees=list(selection.outputs),
        view=selection.views[0],
        pairs=datasets.source(config, entry.dataset).modality == "pair",
        clean=list(config.datasets[entry.dataset].parameters.get("clean", [])),
    )
    bundle.save(saved, store=store_name, head=head_name)
    first = learnt.seeds[0]
    weights = given.class_weights if made.weighs(tried[0]) else "not taken"
    results.write(
        store_name,
        head_name,
        classes=data.classes,
        splits=({"val": learnt.val} if learnt.val else {}) | first.tests,
        val=learnt.found.scores,
        numbers={
            "train_n": len(set(here.train.item_ids)),
            "fit_s": round(first.fitted.fit_s, 3),
            "predict_s": round(first.predict_s, 3),
        },
        details={
            **described(learnt, fit, data.task),
            "class_weights": weights if given.class_weights != "none" else "none",
            "bundle_bytes": paths.bundle(store_name, head_name).stat().st_size,
            "peak_memory_bytes": peak_memory.peak_bytes(),
            "seeds": by_seed(learnt) if made.seeded else [],
            "labels": curve,
            "search": learnt.found.table,
        },
    )
    test = ", ".join(f"{name} {value:.4f}" for name, value in first.tests["test"].scores.items() if name != "n")
    print(f"{store_name} {head_name}: {learnt.found.setting}: test {test}")


def described(learnt: Learnt, fit: Fit, task: str) -> dict[str, Any]:
    """How the head was chosen and fitted."""
    found = learnt.found
    return {
        "task": task,
        "chosen": {name: value for name, value in found.setting.items() if name != "seed"},
        "settings": len(found.table),
        "chosen_on": found.chosen_on,
        "choose": found.measure,
        "folds": [each.scores for each in found.tried] if found.chosen_on != "val" else [],
        "same_folds": found.folds,
        "refit": fit.refit,
        "calibrate": fit.calibrate,
        "converged": learnt.seeds[0].fitted.converged,
    }


def by_seed(learnt: Learnt) -> list[dict[str, Any]]:
    """The scores under each seed; without val's where that was learnt from."""
    return [
        {"seed": each.fitted.seed}
        | ({"val": each.val} if each.val else {})
        | {split: scored.scores for split, scored in each.tests.items()}
        for each in learnt.seeds
    ]


def split_key(config: Config, key: str) -> tuple[str, str]:
    """STORE-HEAD (as DVC names the stage) or STORE/HEAD → its two parts; both may hold dashes themselves."""
    for store in config.stores:
        for head in config.heads:
            if key in (f"{store}-{head}", f"{store}/{head}"):
                return store, head
    raise IceboxError(f"fit {key}: expected STORE-HEAD, a store and a head of params.yaml, found no such pair")
