"""What the page's scripts draw: the data of charts and the items that a click opens, as plain JSON."""

from typing import Any

import numpy as np

from icebox.pipeline.comparison import test_predictions
from icebox.pipeline.report.sections import Line, Section
from icebox.pipeline.report.thumbnails import Exhibit

THUMB = 56  # pixels of a picture on the map and of a neighbour; mistakes are shown larger
BRIEF = 160  # characters of a text there
SCATTERED = 2000  # points of a regression's chart


def of(section: Section) -> dict[str, Any]:
    """All of one dataset."""
    items, near = items_of(section)
    return {
        "score": f"test {section.metric.title}",
        "regression": section.regression,
        "classes": section.classes,
        "items": items,
        "near": near,
        "heads": {
            line.anchor: {"store": line.entry.store, "backbone": line.entry.backbone, "head": line.entry.head}
            for line in section.lines
        },
        "maps": {store: map_of(section, store) for store in section.atlases},
        "labels": labels(section),
        "calibration": {
            line.anchor: test_predictions.calibration_curve(line.judged)
            for line in section.lines
            if line.judged and line.judged.certainty_kind == "confidence"
        },
        "errors": {line.anchor: errors(line) for line in section.lines if line.measured},
    }


def items_of(section: Section) -> tuple[dict[str, Any], dict[str, Any]]:
    """The items that are shown anywhere, by id; and by store the near train items of those that are mistaken."""
    large = {mistake.item_id for line in section.lines for mistake in line.mistakes}
    large |= {suspect["item_id"] for found in section.atlases.values() for suspect in found.suspects}
    small = {item_id for found in section.atlases.values() for item_id in found.item_ids}
    near: dict[str, Any] = {}
    for store, found in section.atlases.items():
        mistaken = {mistake.item_id for line in section.of(store) for mistake in line.mistakes}
        near[store] = {item_id: found.nearest[item_id] for item_id in sorted(mistaken) if item_id in found.nearest}
        small |= {item_id for of in near[store].values() for item_id, _ in of}
    shown = {item_id: section.gallery.show(item_id) for item_id in sorted(large)}
    shown |= {item_id: section.gallery.show(item_id, side=THUMB, length=BRIEF) for item_id in sorted(small - large)}
    return {item_id: item(section, item_id, exhibit) for item_id, exhibit in shown.items()}, near


def item(section: Section, item_id: str, exhibit: Exhibit) -> dict[str, Any]:
    """An item as the scripts know it: label, split, picture or text."""
    row = section.rows.get(item_id)
    found: dict[str, Any] = {"label": row.label if row else "", "split": row.split if row else ""}
    if exhibit.picture:
        found |= {"picture": exhibit.picture, "width": exhibit.width, "height": exhibit.height}
    if exhibit.text:
        found["text"] = exhibit.text
    return found


def map_of(section: Section, store: str) -> dict[str, Any]:
    """A store's map: ids, points by method, and what its best head said of each."""
    found = section.atlases[store]
    line = section.of(store)[0]
    seen = line.seen.get("test")
    said = {item_id: seen.label_and_prediction(i)[1] for i, item_id in enumerate(seen.item_ids)} if seen else {}
    truth = {item_id: seen.label_and_prediction(i)[0] for i, item_id in enumerate(seen.item_ids)} if seen else {}
    return {
        "ids": found.item_ids,
        "points": found.points,
        "label": [
            truth.get(item_id, section.rows[item_id].label if item_id in section.rows else "")
            for item_id in found.item_ids
        ],
        "said": [said.get(item_id) for item_id in found.item_ids],
        "head": line.anchor,
    }


def labels(section: Section) -> list[dict[str, Any]]:
    """The learning curves: a point for each head and number of labels, with mean, least and most over its draws."""
    return [
        {
            "head": line.anchor,
            "per_class": point["labels_per_class"],
            "n": point["train_n"],
            "mean": round(float(np.mean(scores)), 4),
            "low": round(min(scores), 4),
            "high": round(max(scores), 4),
            "draws": len(scores),
        }
        for line in section.lines
        for point in line.entry.details.get("labels") or []
        if (scores := [draw["test"][line.entry.metric.name] for draw in point["draws"]])
    ]


def errors(line: Line) -> dict[str, Any]:
    """A regression's true and predicted values with their ids; a sample where there are very many."""
    seen = line.measured
    if seen is None:
        return {}
    kept = np.arange(len(seen.labels))
    if len(kept) > SCATTERED:
        kept = np.sort(np.random.default_rng(0).choice(kept, SCATTERED, replace=False))
    return {
        "ids": [seen.item_ids[i] for i in kept],
        "actual": [float(f"{seen.labels[i]:.5g}") for i in kept],
        "predicted": [float(f"{seen.predicted[i]:.5g}") for i in kept],
    }
