"""Whether an export answers as the head does: on items of the test split, read anew, before the export is called done.

Letters: n items, k classes, d features.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from icebox.features.errors import IceboxError
from icebox.features.manifest import manifest
from icebox.features.manifest.reading import content_of
from icebox.pipeline.catalog import backbones, datasets
from icebox.pipeline.evaluation.predictions import Predictions
from icebox.pipeline.exported.model import ExportedBackbone
from icebox.pipeline.inference import item_features, predict
from icebox.pipeline.inference.bundle import Bundle
from icebox.pipeline.inference.predict import OpenHead
from icebox.pipeline.inference.reading.new_items import Batch, NewItem
from icebox.pipeline.project import paths

ITEMS = 200
TOLERANCE = 1e-4  # of probabilities; of margins and values as a share of the largest
FEATURE_TOLERANCE = 2e-3  # as a share of the largest: float16 has 11 bits, and a feature may lie between two of its
TEST = "test"

# prepared items, where the export has code of its own for that; scores, answers and features
Answered = tuple[Sequence[Any] | None, np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Checked:
    """The result: n items, the largest difference of scores, the share of features that are equal to the bit."""

    items: int
    largest_difference: float
    tolerance: float

    def as_json(self) -> dict[str, Any]:
        """All of it."""
        return {
            "items": self.items,
            "split": TEST,
            "labels": "equal",
            "largest_difference": self.largest_difference,
            "tolerance": self.tolerance,
        }

    def sentence(self) -> str:
        """For people."""
        return (
            f"checked on {self.items:,} test items, read anew: answers equal, scores at most "
            f"{self.largest_difference:.1g} apart (allowed: {self.tolerance:.1g})"
        )


def items_to_check(opened: Bundle, *, most: int | None = ITEMS) -> list[NewItem]:
    """Items of the test split, evenly over it, as its dataset reads them. Raises IceboxError where they are absent."""
    path = paths.manifest(opened.dataset)
    if not opened.source or not manifest.exists(path):
        raise IceboxError(f"{path}: not found: an export is checked on items of the test split; run: dvc pull {path}")
    dataset = datasets.opened(opened.source, opened.parameters or {})
    rows = manifest.read(path)
    positions = rows.positions(TEST)
    if not len(positions):
        raise IceboxError(f"dataset {opened.dataset}: an export is checked on items of its test split, which has none")
    if most is not None and len(positions) > most:
        positions = positions[np.linspace(0, len(positions) - 1, most).astype(int)]
    return [
        NewItem(row.item_id, f"item '{row.item_id}'", partial(content_of, row, dataset.read), row.label, row.group)
        for row in (rows[int(position)] for position in positions)
    ]


def in_float32(head: OpenHead) -> OpenHead:
    """The head on its network in float32, in which exports compute; itself where that is the store's precision."""
    opened = head.bundle
    if opened.precision == "float32":
        return head
    backbone = backbones.load(opened.backbone, opened.family, opened.outputs, precision="float32", **opened.options)
    return replace(head, bundle=replace(opened, precision="float32"), backbone=backbone)


def same_answers(head: OpenHead, other: OpenHead, items: Sequence[NewItem]) -> int:
    """The number of items that two heads answer alike; of a regression within TOLERANCE of the value."""
    pairs = zip(answers_of(head, items), answers_of(other, items), strict=True)
    if head.bundle.task == "regression":
        return sum(int(np.isclose(one.predicted, two.predicted, rtol=TOLERANCE).sum()) for (_, one), (_, two) in pairs)
    return sum(int((~different(one.predicted, two.predicted)).sum()) for (_, one), (_, two) in pairs)


def answers_of(head: OpenHead, items: Sequence[NewItem]) -> list[tuple[Batch, Predictions]]:
    """The answers of the head itself."""

    def unreadable(item: NewItem, error: IceboxError) -> None:
        raise error if item.place in str(error) else error.at(item.place)

    batches = item_features.batches(head.bundle, head.backbone, iter(items), unreadable)
    return [(batch, predict.answer(head.bundle, batch)) for batch in batches]


def check(head: OpenHead, exported: ExportedBackbone, items: Sequence[NewItem]) -> Checked:
    """Compare the answers of an exported graph for raw items with the head's: see `compare`."""

    def answer(batch: Batch) -> Answered:
        prepared = [exported.prepare(content) for content in batch.contents]
        scores, answers, features = exported.answer(prepared, "features")
        return prepared, scores, answers, features

    return compare(head, answer, items)


def check_pipeline(head: OpenHead, pipeline: Any, items: Sequence[NewItem]) -> Checked:
    """Compare the answers of an exported Pipeline, its Encoder included, for raw items with the head's."""
    opened = replace(head.bundle, head=pipeline.steps[-1][1])

    def answer(batch: Batch) -> Answered:
        features = pipeline[:-1].transform(list(batch.contents))
        answers = predict.answer(opened, Batch(batch.items, batch.shown, batch.contents, features))
        return None, scores_of(answers), answers.predicted, features

    return compare(head, answer, items)


def compare(head: OpenHead, answer: Callable[[Batch], Answered], items: Sequence[NewItem]) -> Checked:
    """Compare an export's answers for raw items with the head's.

    Raises IceboxError, which says where they part, where an answer differs or scores are too far apart.
    """
    largest = 0.0
    scale = 1.0
    found: list[tuple[Batch, Predictions, Answered]] = [
        (batch, expected, answer(batch)) for batch, expected in answers_of(head, items)
    ]
    is_regression = head.bundle.task == "regression"
    if is_regression or not found[0][1].has_probabilities:
        finite = [scores_of(expected)[np.isfinite(scores_of(expected))] for _, expected, _ in found]
        scale = max(1.0, float(np.abs(np.concatenate(finite)).max(initial=0)))
    tolerance = TOLERANCE * scale
    for batch, expected, (prepared, scores, answers, features) in found:
        apart = difference(scores_of(expected), scores)
        largest = max(largest, float(apart.max(initial=0)))
        wrong = np.zeros(len(apart), bool) if is_regression else different(expected.predicted, answers)
        bad = np.flatnonzero(wrong | ~(apart <= tolerance))
        if len(bad):
            item = batch.items[int(bad[0])]
            raise IceboxError(
                f"the export is not the head: of {len(items)} test items, {item.place} has "
                f"{'another answer' if wrong[bad[0]] else f'scores {apart[bad[0]]:.2g} apart'}; "
                f"{where(head, batch, prepared, scores, answers, features, tolerance)}; nothing was written"
            )
    return Checked(len(items), largest, tolerance)


def scores_of(expected: Predictions) -> np.ndarray:
    """Scores (n, k), or a regression's values (n, 1)."""
    return expected.scores if expected.scores.shape[1] else expected.predicted[:, None]


def difference(expected: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """The largest difference (n,) of each item's scores; none between two that are both -∞."""
    scores = scores.reshape(len(expected), -1).astype(np.float64)
    with np.errstate(invalid="ignore"):
        apart = np.abs(expected - scores)
    apart[expected == scores] = 0
    return np.asarray(apart.max(axis=1, initial=0))


def different(expected: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """Which items (n,) have another answer."""
    unequal = expected != answers
    return np.asarray(unequal if unequal.ndim == 1 else unequal.any(axis=1))


def where(
    head: OpenHead,
    batch: Batch,
    prepared: Sequence[Any] | None,
    scores: np.ndarray,
    answers: np.ndarray,
    features: np.ndarray,
    tolerance: float,
) -> str:
    """The part in which an export differs from its head: the preparation of items, the network, or the head."""
    backbone: Any = head.backbone
    for content, mine in zip(batch.contents, prepared, strict=True) if prepared is not None else ():
        if not same_item(backbone.prepare(content), mine):
            return "they part where items are prepared"
    limit = FEATURE_TOLERANCE * float(np.abs(batch.features).max(initial=0))
    apart = float(np.abs(batch.features - features).max(initial=0))
    if apart > limit:
        return f"they part in the network, whose features are up to {apart:.2g} apart"
    again = predict.answer(head.bundle, Batch(batch.items, batch.shown, batch.contents, features))
    if (difference(scores_of(again), scores) > tolerance).any() or (
        head.bundle.task != "regression" and different(again.predicted, answers).any()
    ):
        return "they part in the head"
    return (
        f"network and head agree each by itself: a difference of features in the last digits ({apart:.2g}) changes "
        "what this head answers; a store with `stored: float32` does not round them"
    )


def same_item(own: Any, exported: Any) -> bool:
    """Whether a backbone's prepared item is what the export's own code makes."""
    if isinstance(exported, np.ndarray):
        values = next(iter(own.values())) if isinstance(own, dict) else own
        return bool(np.array_equal(np.asarray(values), exported))
    ids = own if isinstance(own, list) else own.ids
    return list(ids) == list(exported[0])
