"""A fitted head's scores on labelled items that were no part of its dataset. Nothing is fitted.

Letters: n items, k classes.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from icebox.features import fingerprint
from icebox.features.errors import IceboxError
from icebox.features.json_files import read_json
from icebox.features.manifest import manifest
from icebox.features.splits import in_order
from icebox.pipeline.comparison import bootstrap, significance
from icebox.pipeline.comparison.test_predictions import ClassificationPredictions, LabelSetPredictions
from icebox.pipeline.estimators.alignment import is_aligned
from icebox.pipeline.evaluation import metrics
from icebox.pipeline.evaluation.metrics import METRICS
from icebox.pipeline.evaluation.multilabel import LabelSetSample
from icebox.pipeline.evaluation.prediction_file import rows_of_sets
from icebox.pipeline.evaluation.predictions import Predictions
from icebox.pipeline.evaluation.sample import Sample
from icebox.pipeline.inference import alignment, answer_rows, item_features, output, predict
from icebox.pipeline.inference.bundle import Bundle
from icebox.pipeline.inference.predict import OpenHead
from icebox.pipeline.inference.reading.doubtful_items import OnError, Unread
from icebox.pipeline.inference.reading.labelled_items import LabelledItems, UnknownLabels
from icebox.pipeline.inference.reading.new_items import Batch, NewItem
from icebox.pipeline.project import paths

ACTUAL = "actual"  # the column of labels in a table of predictions


@dataclass(frozen=True)
class Score:
    """A score and its 95 % interval."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class KnownItems:
    """Items whose content the head's dataset has: how many by its split, their ids, and `metric` of all other items."""

    by_split: dict[str, int]
    ids: list[str]
    others: float | None


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The scores of a head on n items, by metric, that by which the head was chosen first.

    `classes`: items, recall with its interval, precision and F1 of each. `confusion`: label, prediction, count.
    `unknown_labels`: the items by labels that are no class of the head. `known` None: there is no manifest to look in.
    `own_test`: the scores on the dataset's own test. `unadapted`: of a head that aligns items, those of its answers to
    them as they are.
    """

    head: str
    n: int
    groups: int | None
    chosen_by: str
    scores: dict[str, Score]
    classes: list[dict[str, Any]]
    confusion: list[dict[str, Any]]
    unreadable: int
    unknown_labels: dict[str, int]
    known: KnownItems | None
    own_test: dict[str, float]
    unadapted: dict[str, Score]

    def as_json(self) -> str:
        """All of it."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False)


@dataclass
class Answered:
    """Items with their labels, the head's answers, and the hashes of their contents."""

    items: list[NewItem] = field(default_factory=list)
    predicted: list[np.ndarray] = field(default_factory=list)
    scores: list[np.ndarray] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)

    def add(self, batch: Batch, answers: Predictions) -> None:
        """Note the answers for a batch."""
        self.items += batch.items
        self.predicted.append(answers.predicted)
        kept = answers.has_probabilities or answers.predicted.ndim == 2  # of sets, margins are ranked as well
        self.scores.append(answers.scores if kept else np.empty((len(batch.items), 0)))


def evaluate(
    head: OpenHead,
    inputs: Sequence[str],
    *,
    out: Path | None = None,
    on_error: OnError = "fail",
    safe: bool = False,
    unknown_labels: UnknownLabels = "fail",
    split: str | None = None,
) -> Evaluation:
    """Score the head on labelled items; with `out`, write its predictions there, the labels as the column `actual`.

    Raises IceboxError for items without labels, labels that the head does not know, and where nothing is left.
    """
    opened = head.bundle
    columns = {**answer_rows.columns(opened), ACTUAL: float if opened.task == "regression" else str}
    unread, labelled, answered = Unread(on_error), LabelledItems(opened, split, unknown_labels), Answered()
    beside = Answered()
    items = labelled.of(head.reading.items(inputs, labelled=True))
    with output.open_rows(out, columns, safe=safe) as write:
        read = item_features.batches(opened, head.backbone, items, unread)
        aligned, read = alignment.aligned(opened, read, head.adapt)
        unadapted = alignment.unaligned(opened) if aligns(head) else None
        for batch in read:
            answers = predict.answer(aligned, batch)
            rows = zip(batch.items, answer_rows.rows(opened, batch, answers), strict=True)
            write([{**row, ACTUAL: actual(opened, item)} for item, row in rows])
            answered.add(batch, answers)
            if unadapted:
                beside.add(batch, predict.answer(unadapted, batch))
            answered.keys += map(fingerprint.of_content, batch.contents)
        unread.report(len(answered.items))
        if not answered.items:
            raise IceboxError("expected labelled items to score, found none")
    return assess(head, answered, beside, unreadable=unread.count, unknown=labelled.unknown)


def aligns(head: OpenHead) -> bool:
    """Whether the head's answers hang on an alignment of the items."""
    return head.adapt != "none" and is_aligned(head.bundle.head)


def actual(opened: Bundle, item: NewItem) -> str | float:
    """The label of an item, as a cell."""
    return float(item.label) if opened.task == "regression" else item.label


def assess(
    head: OpenHead, answered: Answered, beside: Answered, *, unreadable: int, unknown: Counter[str]
) -> Evaluation:
    """The evaluation of a head's answers, and of those that stand beside them, if there are any."""
    sample, classes = sample_of(head.bundle, answered)
    groups = {str(i): item.group for i, item in enumerate(answered.items)}
    units = bootstrap.units_of(list(groups), groups)
    chosen_by = metrics.choosing_metric(metrics.scores(sample), choice_of(head))
    predictions = of_classes(sample, classes)
    return Evaluation(
        head=head.name,
        n=len(answered.items),
        groups=int(units.max()) + 1 if any(groups.values()) else None,
        chosen_by=chosen_by,
        scores=scores_of(sample, units, first=chosen_by),
        classes=known_classes(predictions, units) if predictions else [],
        confusion=confusions(predictions) if isinstance(predictions, ClassificationPredictions) else [],
        unreadable=unreadable,
        unknown_labels=dict(sorted(unknown.items())),
        known=known_items(head.bundle, answered.items, answered.keys, sample, chosen_by),
        own_test=own_test(head),
        unadapted=scores_of(sample_of(head.bundle, beside)[0], units, first=chosen_by) if beside.items else {},
    )


def scores_of(sample: Any, units: np.ndarray, *, first: str) -> dict[str, Score]:
    """All scores of a sample of these units (n,), with their intervals."""
    intervals = significance.intervals(sample, significance.draw_metrics(sample, units), units)
    values = metrics.scores(sample)
    order = [first, *(name for name in values if name not in ("n", first))]
    return {name: Score(float(values[name]), *intervals.get(name, (None, None))) for name in order}


def sample_of(opened: Bundle, answered: Answered) -> tuple[Sample | LabelSetSample, list[str]]:
    """Labels and predictions as metrics take them, and the names of classes: the head's, then those it has not."""
    predicted, scores = np.concatenate(answered.predicted), np.concatenate(answered.scores)
    if opened.task == "regression":
        return Sample(np.array([float(item.label) for item in answered.items]), predicted), []
    labels = [item.label for item in answered.items]
    if opened.task == "multilabel":
        return LabelSetSample(rows_of_sets(labels, opened.classes), predicted, scores), opened.classes
    classes = [*opened.classes, *sorted(set(labels) - set(opened.classes))]
    number = {name: i for i, name in enumerate(classes)}
    probabilities = scores if scores.shape[1] == len(classes) else None  # of a class that it has not there are none
    return Sample(np.array([number[label] for label in labels]), predicted, len(classes), probabilities), classes


def of_classes(
    sample: Sample | LabelSetSample, classes: list[str]
) -> ClassificationPredictions | LabelSetPredictions | None:
    """A classification's predictions, for what is known by class."""
    ids = [str(i) for i in range(len(sample.labels))]
    if isinstance(sample, LabelSetSample):
        return LabelSetPredictions(classes, ids, sample.labels, sample.predicted, sample.scores)
    nothing = np.zeros(len(ids))
    return (
        ClassificationPredictions(classes, ids, sample.labels, sample.predicted, nothing, "none") if classes else None
    )


def known_classes(
    predictions: ClassificationPredictions | LabelSetPredictions, units: np.ndarray
) -> list[dict[str, Any]]:
    """The scores of each class that has items or was predicted."""
    rows = significance.class_scores(predictions, units)
    return [row for row in rows if row["n"] or row["precision"] is not None]


def confusions(predictions: ClassificationPredictions) -> list[dict[str, Any]]:
    """Every pair of label and prediction that occurs, with its count."""
    counts = predictions.confusion()
    return [
        {"label": predictions.classes[i], "prediction": predictions.classes[j], "count": int(counts[i, j])}
        for i, j in np.argwhere(counts).tolist()
    ]


def known_items(
    opened: Bundle, items: Sequence[NewItem], keys: Sequence[str], sample: Any, metric: str
) -> KnownItems | None:
    """The items whose content, by its hash, is in the manifest of the head's dataset; None where that is not here."""
    path = paths.manifest(opened.dataset)
    if not opened.dataset or not manifest.exists(path):
        return None
    asked, split_of = set(keys), dict[str, str]()
    for row in manifest.read(path):
        if row.item_key in asked and split_of.get(row.item_key) != "train":  # train counts before all others
            split_of[row.item_key] = row.split
    pairs = zip(items, keys, strict=True)
    known = [(item.item_id, split_of[key]) for item, key in pairs if key in split_of]
    by_split = Counter(split for _, split in known)
    learnt = np.array([split_of.get(key) in ("train", "val") for key in keys])
    others = None
    if learnt.any() and not learnt.all():
        rest = sample.part(np.flatnonzero(~learnt))
        others = float(METRICS[metric].function(rest)) if METRICS[metric].is_defined(rest) else None
    return KnownItems({split: by_split[split] for split in in_order(by_split)}, [name for name, _ in known], others)


def choice_of(head: OpenHead) -> str:
    """The metric by which the head's settings were chosen, or "" where its details are not here."""
    path = paths.details(*head.place)
    return str(read_json(path, {}).get("choose", "")) if path.exists() else ""


def own_test(head: OpenHead) -> dict[str, float]:
    """The scores on the test of the head's dataset; none where they are not here."""
    path = paths.metrics(*head.place)
    return dict(read_json(path, {"test": dict})["test"]) if path.exists() else {}
