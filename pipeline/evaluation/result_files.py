"""The form of the metrics and the details of STORE/HEAD, which `results` writes and the leaderboard reads."""

from pathlib import Path
from typing import Any

from icebox.pipeline.evaluation import metrics
from icebox.pipeline.evaluation.metrics import METRICS
from icebox.pipeline.project import documents
from icebox.pipeline.project.documents import Document

SCORED = ("val", "test")
Number = int | float  # `float` alone would make 4 to 4.0
Scores = dict[str, Number]  # by metric; and `n`, the number of items


class SeedScores(Document):
    """The scores under one seed, by split: of val and further test sets beside test."""

    seed: int
    test: Scores


class Draw(Document):
    """The scores of one draw of labels, by split."""

    test: Scores


class CurvePoint(Document):
    """The draws at one point of a curve of few labels."""

    labels_per_class: int | str
    train_n: int
    draws: list[Draw]


class Trial(Document):
    """One setting of a search: its scores, and its parameters by name beside them; or a candidate of an ensemble."""

    fit_s: Number | None = None
    share: Number = 1.0
    failed: str = ""
    by_fold: list[Number] | None = None


class ClassScores(Document):
    """The scores of one class on a test set; none where it has no items, or was never predicted."""

    n: int
    recall: Number | None = None


class Details(Document):
    """The choice and the fit of a head."""

    chosen: dict[str, Any]
    settings: int
    chosen_on: str = ""
    choose: str = ""
    folds: list[Scores] | None = None
    same_folds: str | None = None
    fewer_folds: str = ""
    converged: bool | None = None
    bundle_bytes: int | None = None
    peak_memory_bytes: int | None = None
    seeds: list[SeedScores] | None = None
    labels: list[CurvePoint] | None = None
    search: list[Trial] | None = None
    ensemble: list[str] | None = None
    by_class: dict[str, list[ClassScores]] | None = None


def read_metrics(path: Path, *, remedy: str) -> dict[str, Any]:
    """Scores by split, and numbers about the fit. Raises IceboxError where they are missing or damaged."""
    content = documents.read(path, dict[str, Scores | Number | None], remedy=remedy)
    splits = {name: scores for name, scores in content.items() if is_scored(name)}
    problems = [
        *(f"expected {name}, found none" for name in (*SCORED, "fit_s", "train_n") if content.get(name) is None),
        *(f"{name}: expected scores" for name, scores in splits.items() if not isinstance(scores, dict)),
        *(problem for name, scores in splits.items() if isinstance(scores, dict) for problem in wrong(name, scores)),
    ]
    if problems:
        raise documents.damaged(path, problems[0], remedy=remedy)
    return content


def read_details(path: Path, *, scored: Scores, remedy: str) -> dict[str, Any]:
    """The choice and the fit of a head whose test scores are `scored`.

    Raises IceboxError where they are missing or damaged.
    """
    details = documents.read(path, Details, remedy=remedy)
    content = details.model_dump(exclude_unset=True)
    tests = [each.test for each in details.seeds or ()]
    tests += [draw.test for point in details.labels or () for draw in point.draws]
    trials = content.get("search") or []
    problem = ""
    if any(primary(scored) not in each for each in tests):
        problem = f"expected {primary(scored)} of every test"
    if not details.ensemble and any(each.fit_s is None for each in details.search or ()):
        problem = "expected fit_s of every setting of the search"
    if any("n" not in fold for fold in details.folds or ()):
        problem = "folds: expected n, found none"
    if details.choose and details.choose not in METRICS:
        problem = f"choose: no metric named {details.choose}"
    if len(trials) > 1 and "ensemble" not in content and not any(is_chosen(trial, content) for trial in trials):
        problem = "chosen: none of the settings in search"
    if problem:
        raise documents.damaged(path, problem, remedy=remedy)
    return content


def is_scored(name: str) -> bool:
    """Whether a key of the metrics is that of a split."""
    return name in SCORED or name.startswith("test-")


def wrong(split: str, scores: Scores) -> list[str]:
    """The scores of a split that can't be."""
    shares = [name for name in scores if name in METRICS and METRICS[name].interval == "proportion"]
    problems = [
        f"{split}.{name}: expected 0 to 1, found {scores[name]}" for name in shares if not 0 <= scores[name] <= 1
    ]
    if split.startswith("test") and not (scores.get("n", 0) >= 1 and primary(scores) in scores):
        problems.append(f"{split}: expected n, of 1 or more, and {primary(scores)}")
    return problems


def primary(scores: Scores) -> str:
    """The name of the metric that heads are compared by, of a split's scores."""
    firsts = [each.name for each in METRICS.values() if each == metrics.primary(each.task)]
    return next((name for name in firsts if name in scores), firsts[0])


def is_chosen(trial: dict[str, Any], details: dict[str, Any]) -> bool:
    """Whether a trial has the chosen parameters."""
    return all(trial.get(name) == value for name, value in details["chosen"].items())
