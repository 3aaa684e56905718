"""Answers as JSON: of each item its label with the scores of all classes, its value or its labels, or its error."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from icebox.features import fingerprint
from icebox.features.errors import IceboxError
from icebox.pipeline.evaluation import conformal
from icebox.pipeline.evaluation.conformal import SetPredictor
from icebox.pipeline.serving.nearest import Neighbor, TrainItems
from icebox.pipeline.serving.predictor import ItemAnswer, Predictor
from icebox.pipeline.serving.requests import RequestItem


def as_json(predictor: Predictor, item: RequestItem, outcome: ItemAnswer | IceboxError) -> dict[str, Any]:
    """The answer to an item. Probabilities, or scores of a head without them, are by class, in the head's order."""
    if isinstance(outcome, IceboxError):
        return {"name": item.name, "error": str(outcome)}
    if predictor.task == "regression":
        return {"name": item.name, "value": float(outcome.predicted)}
    scores = {name: number(value) for name, value in zip(predictor.classes, outcome.scores, strict=True)}
    kind = "probabilities" if predictor.has_probabilities else "scores"
    if predictor.task == "multilabel":
        return {"name": item.name, "labels": named(predictor, outcome.predicted), kind: scores}
    return {"name": item.name, "label": predictor.classes[int(outcome.predicted)], kind: scores}


def add_sets(
    predictor: Predictor,
    sets: SetPredictor,
    items: Sequence[RequestItem],
    outcomes: Sequence[ItemAnswer | IceboxError],
    answers: Sequence[dict[str, Any]],
) -> None:
    """Add to each answer of a class the set of classes that the item may have, as `icebox predict` gives it."""
    for item, outcome, answer in zip(items, outcomes, answers, strict=True):
        if isinstance(outcome, ItemAnswer) and not isinstance(item.content, IceboxError):
            ties = conformal.ties_of([fingerprint.of_content(item.content)])
            answer["set"] = named(predictor, sets.sets(outcome.scores[None], ties)[0])


def add_nearest(
    train: TrainItems, count: int, outcomes: Sequence[ItemAnswer | IceboxError], answers: Sequence[dict[str, Any]]
) -> None:
    """Add to each answer the items of train that lie nearest, with their texts, or the address of a small picture."""
    rows = [row for row, outcome in enumerate(outcomes) if isinstance(outcome, ItemAnswer)]
    features = [outcome.features for outcome in outcomes if isinstance(outcome, ItemAnswer)]
    found = train.nearest(np.stack(features), count) if features else []
    for position, row in enumerate(rows):
        near = None if found is None else [neighbor_as_json(train, each) for each in found[position]]
        answers[row]["nearest"] = near


def neighbor_as_json(train: TrainItems, neighbor: Neighbor) -> dict[str, Any]:
    """An item of train."""
    content = train.content(neighbor.position)
    text = None if content is None else train.text_of(content)
    picture = f"/train/{neighbor.position}" if content is not None and text is None else None
    return {
        "id": neighbor.item_id,
        "label": neighbor.label,
        "distance": neighbor.distance,
        **({} if text is None else {"text": text}),
        **({} if picture is None else {"thumbnail": picture}),
    }


def named(predictor: Predictor, members: np.ndarray) -> list[str]:
    """The names of the classes that are in a set (k,) bool."""
    return [predictor.classes[position] for position in np.flatnonzero(members)]


def number(value: float) -> float | None:
    """A number of JSON; the score of a class that the head never saw is none, minus infinity."""
    return float(value) if np.isfinite(value) else None
