"""The data of the page's scripts, as plain JSON: charts, and the items that a click opens."""

from typing import Any

import numpy as np

from icebox.pipeline.comparison import test_predictions
from icebox.pipeline.comparison.test_predictions import RegressionPredictions
from icebox.pipeline.evaluation import metrics
from icebox.pipeline.report.sections import DatasetSection
from icebox.pipeline.report.thumbnails import Thumbnail

SMALL_SIDE_MAX = 56  # pixels of an image on the map and of a neighbor; mistakes are shown larger
SMALL_TEXT_MAX = 160  # characters of a text there
SCATTER_POINTS_MAX = 2000  # of a regression


def collect(section: DatasetSection) -> dict[str, Any]:
    """All charts and items of one dataset."""
    neighbors = neighbors_of_mistakes(section)
    return {
        "score": f"test {section.metric.title}",
        "regression": section.is_regression,
        "classes": [] if section.is_dense or section.has_sets else section.classes,
        "items": shown_items(section, neighbors),
        "neighbors": neighbors,
        "heads": {
            row.anchor: {"store": row.entry.store, "label": row.entry.label, "head": row.entry.head}
            for row in section.rows
        },
        "maps": {store: map_points(section, store) for store in section.feature_maps},
        "labels": learning_curves(section),
        "calibration": {
            row.anchor: test_predictions.calibration_curve(row.classification)
            for row in section.rows
            if row.classification and row.classification.certainty_kind == "confidence"
        },
        "errors": {row.anchor: scatter_points(row.regression) for row in section.rows if row.regression},
    }


def neighbors_of_mistakes(section: DatasetSection) -> dict[str, dict[str, list[tuple[str, float]]]]:
    """By store and by id of each mistaken item: [id, cosine] of its nearest items of train."""
    return {
        store: {
            item_id: feature_map.nearest[item_id]
            for item_id in sorted({mistake.item_id for row in section.rows_of(store) for mistake in row.mistakes})
            if item_id in feature_map.nearest
        }
        for store, feature_map in section.feature_maps.items()
    }


def shown_items(
    section: DatasetSection, neighbors: dict[str, dict[str, list[tuple[str, float]]]]
) -> dict[str, dict[str, Any]]:
    """The items that are shown anywhere, by id."""
    maps = section.feature_maps.values()
    large = {mistake.item_id for row in section.rows for mistake in row.mistakes}
    large |= {suspect["item_id"] for feature_map in maps for suspect in feature_map.suspects}
    large |= {item_id for feature_map in maps for *pair, _ in feature_map.near_shown for item_id in pair}
    small = {item_id for feature_map in maps for item_id in feature_map.item_ids}
    small |= {near for by_item in neighbors.values() for nearest in by_item.values() for near, _ in nearest}
    get = section.thumbnails.get
    thumbnails = {item_id: get(item_id) for item_id in sorted(large)}
    for item_id in sorted(small - large):
        thumbnails[item_id] = get(item_id, side_max=SMALL_SIDE_MAX, text_max=SMALL_TEXT_MAX)
    return {item_id: item_record(section, item_id, thumbnail) for item_id, thumbnail in thumbnails.items()}


def item_record(section: DatasetSection, item_id: str, thumbnail: Thumbnail) -> dict[str, Any]:
    """Label, split, and image or text of an item."""
    row = section.items.get(item_id)
    record: dict[str, Any] = {"label": section.label_of_item(item_id), "split": row.split if row else ""}
    if thumbnail.image:
        record |= {"image": thumbnail.image, "width": thumbnail.width, "height": thumbnail.height}
    if thumbnail.text:
        record["text"] = thumbnail.text
    return record


def map_points(section: DatasetSection, store: str) -> dict[str, Any]:
    """A store's map: ids, points by method, labels, and the predictions of the store's best head."""
    feature_map, best = section.feature_maps[store], section.rows_of(store)[0]
    test = best.predictions.get("test")
    answered = test if not section.is_dense else None  # masks and boxes are no words
    pairs = (
        {item_id: answered.label_and_prediction(i) for i, item_id in enumerate(answered.item_ids)} if answered else {}
    )
    labels = {} if section.is_dense else {name: section.label_of_item(name) for name in feature_map.item_ids}
    labels |= {item_id: label for item_id, (label, _) in pairs.items()}
    return {
        "ids": feature_map.item_ids,
        "points": feature_map.points,
        "label": [labels.get(item_id, "") for item_id in feature_map.item_ids],
        "predicted": [pairs[item_id][1] if item_id in pairs else None for item_id in feature_map.item_ids],
        "head": best.anchor,
    }


def learning_curves(section: DatasetSection) -> list[dict[str, Any]]:
    """A point for each head and number of labels, with the mean, least and greatest score over its draws."""
    name = section.metric.name
    return [
        {
            "head": row.anchor,
            "per_class": point["labels_per_class"],
            "n": point["train_n"],
            "mean": metrics.rounded(float(np.mean(scores))),
            "low": metrics.rounded(min(scores)),
            "high": metrics.rounded(max(scores)),
            "draws": len(scores),
        }
        for row in section.rows
        for point in row.entry.details.get("labels") or []
        if (scores := [draw["test"][name] for draw in point["draws"] if name in draw["test"]])
    ]


def scatter_points(predictions: RegressionPredictions) -> dict[str, Any]:
    """A regression's true and predicted values with their ids; a sample where there are very many."""
    items = np.arange(len(predictions.labels))
    if len(items) > SCATTER_POINTS_MAX:
        items = np.sort(np.random.default_rng(0).choice(items, SCATTER_POINTS_MAX, replace=False))
    return {
        "ids": [predictions.item_ids[i] for i in items],
        "actual": [float(f"{predictions.labels[i]:.5g}") for i in items],
        "predicted": [float(f"{predictions.predicted[i]:.5g}") for i in items],
    }
