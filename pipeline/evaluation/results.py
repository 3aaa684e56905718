"""The result files of STORE/HEAD, for people and for the report: metrics, details, predictions and plots."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from icebox.features import files
from icebox.features.errors import IceboxError
from icebox.pipeline.evaluation import class_scores, metrics, plots, prediction_file
from icebox.pipeline.evaluation.dense_tasks.dense import ScoredPictures
from icebox.pipeline.evaluation.metrics import METRICS
from icebox.pipeline.evaluation.multilabel import LabelSetSample
from icebox.pipeline.evaluation.predictions import ScoredSplit, sample_of
from icebox.pipeline.project import paths

RECALLS_MAX = 20  # classes whose recalls stand in metrics: each is a column of `dvc exp show`; details hold them all
SCORES = {*METRICS, "ap", "by_fold", "f1", "iou", "precision", "recall"}  # keys of JSON content whose values are scores


def write(
    input_name: str,
    head: str,
    *,
    classes: list[str],
    splits: Mapping[str, ScoredSplit] | Mapping[str, ScoredPictures],
    val: Mapping[str, float],
    numbers: Mapping[str, float],
    details: Mapping[str, Any],
) -> None:
    """Write all result files of a head on an input, STORE or STORE/NAME.

    `splits` hold the test sets, and val where it chose; `val` are the scores that chose; `numbers` stand beside the
    scores in metrics.
    """
    scores = {split: scored.scores for split, scored in splits.items()}
    by_class = {
        split: scores_by_class(scored, classes)
        for split, scored in splits.items()
        if classes and split.startswith("test")
    }
    recalls = recalls_of(by_class.get("test", []))
    write_json(paths.metrics(input_name, head), {"val": val} | scores | {"val": val, **recalls, **numbers})
    write_json(paths.details(input_name, head), {**details, "by_class": by_class})
    prediction_file.write(paths.predictions(input_name, head), splits, classes)
    for name, text in plot_tables(splits["test"], classes).items():
        files.write_text(paths.plot(input_name, head, name), text)


def recalls_of(by_class: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """The recalls on test by class, as metrics hold them; nothing where there are many classes, or none."""
    recalls = {each["class"]: metrics.rounded(each["recall"]) for each in by_class if each["recall"] is not None}
    return {"recall": recalls} if recalls and len(by_class) <= RECALLS_MAX else {}


def scores_by_class(scored: ScoredSplit | ScoredPictures, classes: list[str]) -> list[dict[str, Any]]:
    """The scores of each class on a split."""
    if isinstance(scored, ScoredPictures):
        by_class: list[dict[str, Any]] = scored.sample.by_class(classes)
        return by_class
    sample = sample_of(scored.split.labels, scored.predictions, len(classes))
    return sample.by_class(classes) if isinstance(sample, LabelSetSample) else class_scores.of_sample(sample, classes)


def plot_tables(test: ScoredSplit | ScoredPictures, classes: list[str]) -> dict[str, str]:
    """CSV text by the plot's name. A regression has neither confusions nor decisions, nor have sets of labels, and a
    dense task no curve: those tables hold no lines."""
    nothing = {"confusion": plots.table(plots.CONFUSION_HEADER, []), "roc": plots.table(plots.ROC_HEADER, [])}
    if isinstance(test, ScoredPictures):
        is_counted = hasattr(test.sample, "confusion")
        return nothing | (
            {"confusion": plots.pixel_confusion_csv(test.sample.confusion, classes)} if is_counted else {}
        )
    if not classes or test.split.labels.ndim == 2:
        return nothing
    return {
        "confusion": plots.confusion_csv(test.split.labels, test.predictions.predicted, classes),
        "roc": plots.roc_csv(test.split.labels, test.predictions.scores),
    }


def require_finite(*contents: Any) -> None:
    """Raise IceboxError, before any file of a head is written, unless all scores in the contents are numbers."""
    for name, score in (each for content in contents for each in scores_in(content)):
        if not math.isfinite(score):
            raise IceboxError(f"{name}: expected a number, found {score}; change the head's settings")


def scores_in(content: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """(name, score) of all scores within JSON content."""
    match content:
        case float() if name in SCORES:
            yield name, content
        case Mapping():
            for key, value in content.items():
                yield from scores_in(value, key)
        case list():
            for value in content:
                yield from scores_in(value, name)


def rounded(content: Any, name: str = "") -> Any:
    """JSON content with its scores rounded, as `metrics.rounded` says; other numbers, such as parameters, are kept."""
    match content:
        case float() if name in SCORES:
            return metrics.rounded(content)
        case Mapping():
            return {key: rounded(value, key) for key, value in content.items()}
        case list():
            return [rounded(value, name) for value in content]
    return content


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a result that git keeps."""
    files.write_text(path, json.dumps(rounded(content), indent=2, allow_nan=False) + "\n")
