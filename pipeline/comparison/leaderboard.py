"""The leaderboard: every selected store with every selected head, from the metrics and details that fitting left."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from icebox.features.errors import IceboxError, suggestion
from icebox.pipeline.comparison import statistics
from icebox.pipeline.comparison.statistics import FoldComparison
from icebox.pipeline.config.schema import Config
from icebox.pipeline.evaluation import metrics, result_files
from icebox.pipeline.evaluation.metrics import METRICS, Metric
from icebox.pipeline.project import paths

FURTHER_TEST = "test-"


@dataclass(frozen=True)
class LeaderboardEntry:
    """One head on one store: its scores by split, how it was chosen, and what it costs.

    `details` is the file of that name, as fit left it. `metric` is what all heads of the dataset are ranked by on val,
    shown by, compared by on test and plotted by.
    """

    dataset: str
    backbone: str
    store: str
    head: str
    val: dict[str, float]
    test: dict[str, float]
    further: dict[str, dict[str, float]]
    chosen: dict[str, Any]
    fit_s: float
    predict_s: float | None
    train_n: int
    settings: int
    details: dict[str, Any]
    metric: Metric

    @property
    def regression(self) -> bool:
        """Whether numbers are predicted, not classes."""
        return self.metric.task == "regression"

    @property
    def score(self) -> float | None:
        """The test score by `metric`; None of a head without probabilities where that needs them."""
        return self.test.get(self.metric.name)

    @property
    def val_score(self) -> float | None:
        """The score on val, or on folds, by `metric`."""
        return self.val.get(self.metric.name)

    @property
    def chosen_on(self) -> str:
        """Where the settings were compared: val, or folds of train."""
        return str(self.details.get("chosen_on", "val"))


def entries(config: Config, stores: Sequence[str] = ()) -> list[LeaderboardEntry]:
    """All entries, or those of some stores, by dataset in the order of params.yaml, each dataset's best on val first.

    Ranked on val, since ranking by test would choose by test. Raises IceboxError where metrics are missing.
    """
    for store in stores:
        if store not in config.select.stores:
            raise IceboxError(f"compare {store}: no such selected store; {suggestion(store, config.select.stores)}")
    unsorted = [
        read_entry(config, store, head)
        for store in stores or config.select.stores
        for head in result_names(config, store)
    ]

    def rank(entry: LeaderboardEntry) -> tuple[float, str, str]:
        known = entry.val_score is not None
        return -metrics.utility(entry.val, entry.metric.name) if known else math.inf, entry.store, entry.head

    ranked = []
    for dataset in config.datasets:
        of_dataset = [entry for entry in unsorted if entry.dataset == dataset]
        metric = ranking_metric(config, of_dataset)
        ranked += sorted((replace(entry, metric=metric) for entry in of_dataset), key=rank)
    return ranked


def result_names(config: Config, store: str) -> list[str]:
    """The names under which a store's results lie: selected heads, their ensemble, and what was unfrozen from there."""
    ensemble = [paths.ENSEMBLE] if store in config.select.ensembles else []
    return [*config.select.heads, *ensemble, *(name for name, entry in config.unfreeze.items() if entry.store == store)]


def ranking_metric(config: Config, entries: Sequence[LeaderboardEntry]) -> Metric:
    """The one metric of a dataset's entries: what chose their settings. Where stores were chosen by different ones that
    of `fit`, and the task's own where no entry has it."""
    task = entries[0].metric.task if entries else "classification"
    chosen_by = {config.fit_options(entry.store).choose for entry in entries}
    name = chosen_by.pop() if len(chosen_by) == 1 else config.fit.choose
    known = name in metrics.choices(task) and any(name in entry.val and name in entry.test for entry in entries)
    return METRICS[name] if known else metrics.primary(task)


def read_entry(config: Config, store: str, head: str) -> LeaderboardEntry:
    """One entry from its metrics and details. Raises IceboxError where they are missing or damaged."""
    remedy = f"run: dvc repro fit@{store}-{head}"
    scores = result_files.read_metrics(paths.metrics(store, head), remedy=remedy)
    details = result_files.read_details(paths.details(store, head), scored=scores["test"], remedy=remedy)
    catalog_entry = config.stores[store]
    return LeaderboardEntry(
        dataset=catalog_entry.dataset,
        backbone=catalog_entry.backbone,
        store=store,
        head=head,
        val=scores["val"],
        test=scores["test"],
        further={name: of_split for name, of_split in scores.items() if name.startswith(FURTHER_TEST)},
        chosen=details["chosen"],
        fit_s=scores["fit_s"],
        predict_s=scores.get("predict_s"),
        train_n=scores["train_n"],
        settings=details["settings"],
        details=details,
        metric=METRICS[metrics.choosing_metric(scores["test"], "")],
    )


def compare_on_folds(entries: Sequence[LeaderboardEntry]) -> list[FoldComparison | None]:
    """Each entry against the first, where both were scored on the same folds of the same items."""
    metric = entries[0].metric
    folds = [entry.details.get("folds") or [] for entry in entries]
    same = entries[0].details.get("same_folds")
    scores = [
        [fold[metric.name] for fold in own]
        if same and entry.details.get("same_folds") == same and all(metric.name in fold for fold in own)
        else None
        for entry, own in zip(entries, folds, strict=True)
    ]
    return statistics.compare_on_folds(scores, [int(fold["n"]) for fold in folds[0]])


def format_parameters(parameters: dict[str, Any]) -> str:
    """`C=0.1, max_iter=1000`."""
    return ", ".join(f"{name}={value}" for name, value in parameters.items())
