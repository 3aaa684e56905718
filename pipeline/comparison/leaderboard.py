"""The leaderboard: heads by input, from the metrics and details that fitting left."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from icebox.features.errors import IceboxError, suggestion
from icebox.pipeline.comparison import statistics
from icebox.pipeline.comparison.statistics import FoldComparison
from icebox.pipeline.config.schema import Config, store_of
from icebox.pipeline.evaluation import metrics, not_applicable, result_files
from icebox.pipeline.evaluation.metrics import METRICS, Metric
from icebox.pipeline.project import paths

FURTHER_TEST = "test-"


@dataclass(frozen=True)
class LeaderboardEntry:
    """One head on one input: its scores by split, how it was chosen, and what it costs.

    `details` is the file of that name, as fit left it. `metric` is what all heads of the dataset are ranked by on val,
    shown by, compared by on test and plotted by. `in_params`: whether params.yaml names it still.
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
    input: str = ""
    in_params: bool = True

    @property
    def input_name(self) -> str:
        """STORE, or STORE/NAME of an entry of `inputs`."""
        return f"{self.store}/{self.input}" if self.input else self.store

    @property
    def name(self) -> str:
        """The name by which commands know it: STORE/HEAD or STORE/NAME/HEAD."""
        return f"{self.input_name}/{self.head}"

    @property
    def label(self) -> str:
        """Store and input for a table of one dataset: `glyphnet` of `digits-glyphnet`, `glyphnet/few` of an input."""
        return self.input_name.removeprefix(f"{self.dataset}-")

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


def entries(config: Config, stores: Sequence[str] = (), *, on_disk: bool = False) -> list[LeaderboardEntry]:
    """All entries of params.yaml, or those of some stores or inputs; each dataset's best on val first.

    With `on_disk`, those instead whose results are here, whether params.yaml names them or not. Datasets stand in the
    order of params.yaml. Ranked on val, since ranking by test would choose by test. Raises IceboxError where metrics
    are missing.
    """
    named = names_in_params(config)
    names = names_on_disk(named) if on_disk else named
    names = [(name, head) for name, head in names if not not_applicable.reason(name, head)]
    if on_disk and not names:
        raise IceboxError(f"{paths.METRICS}: no results here; run: icebox run")
    known = list(dict.fromkeys(each for name, _ in names for each in (store_of(name), name)))
    for store in stores:
        if store not in known:
            raise IceboxError(f"compare {store}: no results of such a store here; {suggestion(store, known)}")
    unsorted = [
        read_entry(config, name, head, in_params=(name, head) in named)
        for name, head in names
        if not stores or name in stores or store_of(name) in stores
    ]

    def rank(entry: LeaderboardEntry) -> tuple[float, str, str]:
        known = entry.val_score is not None
        return -metrics.utility(entry.val, entry.metric.name) if known else math.inf, entry.input_name, entry.head

    ranked = []
    for dataset in [*config.datasets, *sorted({entry.dataset for entry in unsorted} - config.datasets.keys())]:
        of_dataset = [entry for entry in unsorted if entry.dataset == dataset]
        metric = ranking_metric(config, of_dataset)
        ranked += sorted((replace(entry, metric=metric) for entry in of_dataset), key=rank)
    return ranked


def names_in_params(config: Config) -> list[tuple[str, str]]:
    """The pairs (input, head) that params.yaml names: each input with each head, ensembles, and what is unfrozen."""
    by_input = [
        (name, head)
        for name in config.every_input()
        for head in [*config.heads, *([paths.ENSEMBLE] if name in config.ensembles else [])]
    ]
    return by_input + [(entry.store, name) for name, entry in config.unfreeze.items()]


def names_on_disk(first: Sequence[tuple[str, str]] = ()) -> list[tuple[str, str]]:
    """The pairs (input, head) that have metrics here; those of `first` first, in their order."""
    found = sorted(
        (path.parent.relative_to(paths.METRICS).as_posix(), path.stem) for path in paths.METRICS.rglob("*.json")
    )
    return [*(name for name in first if name in found), *(name for name in found if name not in first)]


def passed_over(config: Config, stores: Sequence[str] = ()) -> list[str]:
    """A line for each head of params.yaml that its store can't have: INPUT/HEAD: why. Of some stores only, if named."""
    pairs = [pair for pair in names_in_params(config) if not stores or {pair[0], store_of(pair[0])} & {*stores}]
    return [f"{name}/{head}: {reason}" for name, head in pairs if (reason := not_applicable.reason(name, head))]


def unfitted(config: Config) -> list[str]:
    """The names of what params.yaml names and has no results here, INPUT/HEAD."""
    here = names_on_disk()
    return [f"{name}/{head}" for name, head in names_in_params(config) if (name, head) not in here]


def ranking_metric(config: Config, entries: Sequence[LeaderboardEntry]) -> Metric:
    """The one metric of a dataset's entries: what chose their settings. Where inputs were chosen by different ones that
    of `fit`, and the task's own where no entry has it."""
    task = entries[0].metric.task if entries else "classification"
    known_inputs = config.every_input()
    chosen_by = {
        config.fit_options(entry.input_name).choose
        if entry.input_name in known_inputs
        else str(entry.details.get("choose"))
        for entry in entries
    }
    name = chosen_by.pop() if len(chosen_by) == 1 else config.fit.choose
    known = name in metrics.choices(task) and any(name in entry.val and name in entry.test for entry in entries)
    return METRICS[name] if known else metrics.primary(task)


def read_entry(config: Config, input_name: str, head: str, *, in_params: bool = True) -> LeaderboardEntry:
    """One entry from its metrics and details. Raises IceboxError where they are missing or damaged."""
    remedy = f"run: dvc repro {paths.fit_stage(input_name, head)}"
    scores = result_files.read_metrics(paths.metrics(input_name, head), remedy=remedy)
    details = result_files.read_details(paths.details(input_name, head), scored=scores["test"], remedy=remedy)
    store, _, short = input_name.partition("/")
    named = store in config.stores or store in config.joined
    return LeaderboardEntry(
        dataset=config.dataset_name(store) if named else details.get("dataset", store),
        backbone=config.backbone_name(store) if named else details.get("backbone", store),
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
        input=short,
        in_params=in_params,
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
