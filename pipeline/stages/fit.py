"""Stage `fit@STORE-HEAD`: choose a head's parameters, fit it as it is used, score it once on test, save it.

The stage `fit-input@STORE/NAME-HEAD` does the same on an entry of `inputs`.
"""

import logging
from collections import Counter
from collections.abc import Mapping
from itertools import product
from typing import Any

from icebox.features.errors import NotApplicable, located
from icebox.features.joining.joined_store import open_store
from icebox.features.manifest.validation import DENSE_TASKS
from icebox.features.store.feature_store import FeatureStore
from icebox.pipeline.catalog import backbones
from icebox.pipeline.catalog.class_vectors import ClassTexts
from icebox.pipeline.config import plugin_schema
from icebox.pipeline.config.fit import Fit
from icebox.pipeline.config.schema import Config, store_of
from icebox.pipeline.data import class_weights, dense, feature_selection, labelled, near_duplicates, on_disk
from icebox.pipeline.data.feature_selection import FeatureSelection
from icebox.pipeline.evaluation import formatting, not_applicable, peak_memory, results
from icebox.pipeline.fitting import (
    candidates,
    decisions,
    dense_fit,
    details,
    final_fit,
    head_factory,
    learning_curve,
    on_ray,
)
from icebox.pipeline.fitting.adaptation import Adaptation
from icebox.pipeline.fitting.final_fit import FitResult
from icebox.pipeline.inference import bundle
from icebox.pipeline.project import head_names, paths

logger = logging.getLogger("icebox")


def run(config: Config, key: str) -> None:
    """Write the bundle, its card, the metrics, the details, the predictions and the plots of INPUT/HEAD.

    A head that the store can't have is passed over: its files say why, and the pipeline goes on.
    """
    input_name, head_name = head_names.find(key, product(config.every_input(), config.heads))
    fit_head = fit_on_pictures if config.task(input_name) in DENSE_TASKS else fit_on_items
    try:
        with on_ray.searches(config.run.engine):
            fit_head(config, input_name, head_name)
    except NotApplicable as reason:
        not_applicable.write(input_name, head_name, str(reason))
        logger.warning("%s/%s: passed over: %s", input_name, head_name, reason)


def fit_on_pictures(config: Config, input_name: str, head_name: str) -> None:
    """Fit, score and save a head of a dense task."""
    store_name, head_entry = store_of(input_name), config.heads[head_name]
    store, fit = FeatureStore(paths.store(store_name)), config.fit_options(input_name)
    entry = config.every_input()[input_name]
    with located(f"stores.{store_name}"):
        data = dense.load(store, outputs=entry.outputs, views=entry.expanded_views)
    selection = FeatureSelection(data.maps.outputs, data.views)
    task = config.task(input_name)
    factory = head_factory.create(head_entry, task, f"heads.{head_name}", columns=data.maps.column_ranges)
    grid = candidates.generate(head_entry.parameters, fit.search, seed=fit.seed)
    settings = f"{len(grid)} setting{'s' * (len(grid) > 1)}"
    logger.info("fit %s/%s: %s, %s train pictures", input_name, head_name, settings, f"{len(data.train):,}")
    with located(f"stores.{store_name}"):
        result = dense_fit.fit_head(factory, grid, data, fit, where=f"{input_name}: class_weights")
    save(
        config,
        input_name,
        head_name,
        store,
        result,
        head=result.seeds[0].fitted.head,
        classes=data.classes,
        fit=fit,
        selection=selection,
        scored=({"val": result.val} if result.val else {}) | dict(result.seeds[0].tests),
        train_n=len(data.train),
        further={
            "class_weights": fit.class_weights if dense_fit.takes_weights(factory, grid[0]) else "not taken",
            "seeds": details.scores_by_seed(result) if factory.has_randomness else [],
        },
    )


def fit_on_items(config: Config, input_name: str, head_name: str) -> None:
    """Fit, score and save a head of a task with one label an item."""
    store_name, head_entry = store_of(input_name), config.heads[head_name]
    store, fit = open_store(paths.store(store_name)), config.fit_options(input_name)
    entry = config.every_input()[input_name]
    selection = feature_selection.select(store, outputs=entry.outputs, views=entry.expanded_views)
    leaked = None
    if config.without_near_duplicates(input_name):
        leaked = near_duplicates.leaked(store, selection, kept=paths.NEAR_DUPLICATES)
    streams = head_factory.streams(head_entry)
    data = labelled.load(store, task=config.task(input_name), selection=selection, leave_out=leaked, streams=streams)
    if not streams and (size := on_disk.size_bytes(store, len(store), selection)) > on_disk.STREAMED_BYTES:
        logger.warning(
            "%s/%s: holds %.1f GB of features in memory, and copies of them; without `pca`, %s read theirs from disk",
            input_name,
            head_name,
            size / 1e9,
            ", ".join(plugin_schema.streaming_heads()),
        )
    weights = fit.class_weights
    weighter = class_weights.sample_weighter(weights, data.classes, f"{input_name}: class_weights")
    factory = head_factory.create(
        head_entry,
        data.task,
        f"heads.{head_name}",
        columns=selection.column_ranges(store),
        blocks=selection.blocks(store),
        class_texts=ClassTexts(data.classes, lambda: backbones.text_tower(config, store_name, selection.outputs)),
    )
    grid = candidates.generate(head_entry.parameters, fit.search, seed=fit.seed)
    points = learning_curve.sorted_points(fit.labels_per_class)
    with located(f"stores.{store_name}"):
        sets = Adaptation(data, fit, len(selection.views), weighter)
        data = sets.data
    most_labels = learning_curve.draw(data, points[-1], fit.seed)
    if most_labels.train.is_constant:
        logger.warning(
            "%s: all train items have the same features, by which no head can tell them apart; look at the items, and "
            "at the backbone's outputs",
            input_name,
        )
    if config.keeps_val(input_name):
        fit = fit.model_copy(update={"few_labels": "val"})
    way = learning_curve.settled(fit, most_labels)
    if line := learning_curve.told(points, fit, way):
        logger.info("%s/%s: %s", input_name, head_name, line)
    curve = []
    settings = f"{len(grid)} setting{'s' * (len(grid) > 1)}"
    logger.info("fit %s/%s: %s, %s train items", input_name, head_name, settings, f"{len(most_labels.train):,}")
    with located(f"stores.{store_name}"):
        result = sets.corrected(final_fit.fit_head(factory, grid, most_labels, way, sample_weighter=weighter))
        if len(points) > 1:
            curve = learning_curve.compute(factory, grid, data, points, fit, sample_weighter=weighter, main=result)
    first = result.seeds[0]
    scored = ({"val": result.val} if result.val else {}) | dict(first.tests)
    scored |= decisions.undecided_tests(first.fitted.head, first.tests, data)
    scored |= sets.unadapted_tests(first.fitted.head)
    save(
        config,
        input_name,
        head_name,
        store,
        result,
        fit=way,
        head=sets.head(first.fitted.head),
        classes=data.classes,
        selection=selection,
        scored=scored,
        train_n=len(set(most_labels.train.item_ids)),
        further={
            **details.decisions(first.fitted.head, fit, data.classes),
            **sets.details(first.fitted.head),
            **({} if leaked is None else {"near_left_out": Counter(store.splits[leaked].tolist())}),
            "class_weights": weights if weights == "none" or factory.takes_weights(grid[0]) else "not taken",
            "seeds": details.scores_by_seed(result) if factory.has_randomness else [],
            "labels": curve,
        },
    )
    if result.search.fewer_folds:
        logger.warning("%s/%s: %s", input_name, head_name, result.search.fewer_folds)


def save(
    config: Config,
    input_name: str,
    head_name: str,
    store: FeatureStore,
    result: FitResult,
    *,
    fit: Fit,
    head: Any,
    classes: list[str],
    selection: FeatureSelection,
    scored: Mapping[str, Any],
    train_n: int,
    further: Mapping[str, Any],
) -> None:
    """Write all files of a `head` that was fitted as `fit` says, and its `scored` splits; `further` details stand
    beside those of every fit."""
    store_name, first = store_of(input_name), result.seeds[0]
    with located(f"stores.{store_name}: heads.{head_name}"):
        results.require_finite(
            {"val": result.search.scores}, {name: each.scores for name, each in scored.items()}, result.search.table
        )
    saved = bundle.for_store(config, store_name, store, head, classes=classes, selection=selection)
    bundle.save(saved, input_name=input_name, head=head_name)
    results.write(
        input_name,
        head_name,
        classes=classes,
        splits=scored,
        val=result.search.scores,
        numbers={
            "train_n": train_n,
            "fit_s": round(first.fitted.fit_s, 3),
            "predict_s": round(first.predict_s, 3),
        },
        details={
            **details.origin(config, input_name),
            **details.selection_details(result, fit, config.task(input_name)),
            **further,
            "bundle_bytes": paths.bundle(input_name, head_name).stat().st_size,
            "peak_memory_bytes": peak_memory.peak_bytes(),
            "search": result.search.table,
        },
    )
    test = formatting.scores_line(first.tests["test"].scores, config.fit_options(input_name).choose)
    logger.info("%s/%s: %s: test %s", input_name, head_name, result.search.parameters, test)
