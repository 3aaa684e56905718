"""Stage `fit@STORE-HEAD`: choose a head's parameters, fit it as it is used, score it once on test, save it."""

import logging

from icebox.features.errors import IceboxError, located
from icebox.features.store.feature_store import FeatureStore
from icebox.pipeline.config.schema import Config
from icebox.pipeline.data import class_weights, feature_selection, labelled
from icebox.pipeline.evaluation import formatting, peak_memory, results
from icebox.pipeline.fitting import candidates, details, final_fit, head_factory, learning_curve
from icebox.pipeline.inference import bundle
from icebox.pipeline.project import paths

logger = logging.getLogger("icebox")


def run(config: Config, key: str) -> None:
    """Write the bundle, its card, the metrics, the details, the predictions and the plots of STORE-HEAD."""
    store_name, head_name = split_key(config, key)
    store, fit = FeatureStore(paths.store(store_name)), config.fit_options(store_name)
    inputs, head_entry = config.stores[store_name].fit, config.heads[head_name]
    selection = feature_selection.select(store, outputs=inputs.outputs, views=inputs.expanded_views)
    data = labelled.load(store, task=config.task(store_name), selection=selection)
    weighter = class_weights.sample_weighter(
        inputs.class_weights, data.classes, f"stores.{store_name}.fit.class_weights"
    )
    factory = head_factory.create(head_entry, data.task, f"heads.{head_name}", columns=selection.column_ranges(store))
    grid = candidates.generate(head_entry.parameters, fit.search, seed=fit.seed)
    points = learning_curve.sorted_points(inputs.labels_per_class)
    most_labels = learning_curve.draw(data, points[-1], fit.seed)
    curve = []
    settings = f"{len(grid)} setting{'s' * (len(grid) > 1)}"
    logger.info("fit %s/%s: %s, %s train items", store_name, head_name, settings, f"{len(most_labels.train):,}")
    with located(f"stores.{store_name}"):
        result = final_fit.fit_head(factory, grid, most_labels, fit, sample_weighter=weighter)
        if len(points) > 1:
            curve = learning_curve.compute(factory, grid, data, points, fit, sample_weighter=weighter, main=result)
    first = result.seeds[0]
    scored = ({"val": result.val} if result.val else {}) | first.tests
    with located(f"stores.{store_name}: heads.{head_name}"):
        results.require_finite(
            {"val": result.search.scores}, {name: each.scores for name, each in scored.items()}, result.search.table
        )
    saved = bundle.for_store(config, store_name, store, first.fitted.head, classes=data.classes, selection=selection)
    bundle.save(saved, store=store_name, head=head_name)
    weights = inputs.class_weights
    results.write(
        store_name,
        head_name,
        classes=data.classes,
        splits=scored,
        val=result.search.scores,
        numbers={
            "train_n": len(set(most_labels.train.item_ids)),
            "fit_s": round(first.fitted.fit_s, 3),
            "predict_s": round(first.predict_s, 3),
        },
        details={
            **details.selection_details(result, fit, data.task),
            "class_weights": weights if weights == "none" or factory.takes_weights(grid[0]) else "not taken",
            "bundle_bytes": paths.bundle(store_name, head_name).stat().st_size,
            "peak_memory_bytes": peak_memory.peak_bytes(),
            "seeds": details.scores_by_seed(result) if factory.has_randomness else [],
            "labels": curve,
            "search": result.search.table,
        },
    )
    test = formatting.scores_line(first.tests["test"].scores, fit.choose)
    logger.info("%s %s: %s: test %s", store_name, head_name, result.search.parameters, test)


def split_key(config: Config, key: str) -> tuple[str, str]:
    """STORE-HEAD (as DVC names the stage) or STORE/HEAD → its two parts; both may hold dashes themselves."""
    for store in config.stores:
        for head in config.heads:
            if key in (f"{store}-{head}", f"{store}/{head}"):
                return store, head
    raise IceboxError(f"fit {key}: expected STORE-HEAD, a store and a head of params.yaml, found no such pair")
