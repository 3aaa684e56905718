"""The search table of a head: every setting that was tried, how it did, and whether that is more than chance."""

from dataclasses import dataclass
from typing import Any

from icebox.pipeline.comparison import fold_tests, leaderboard
from icebox.pipeline.comparison.fold_tests import OnFolds
from icebox.pipeline.evaluation.metrics import METRICS


@dataclass(frozen=True)
class Tried:
    """One setting, as it differs from the others; of train's items the `share` that halving gave it."""

    setting: str
    chosen: bool
    score: float | None
    share: float
    on_folds: OnFolds | None
    fit_s: float
    failed: str


def of(entry: leaderboard.Entry) -> list[Tried]:
    """Best first, the chosen one before its equals; none where only one was tried, or heads by an ensemble."""
    table = entry.details.get("search") or []
    metric = METRICS[entry.details.get("choose", entry.metric.name)]
    if len(table) < 2 or "ensemble" in entry.details:
        return []
    keys = [key for key in entry.chosen if any(line.get(key) != table[0].get(key) for line in table)]
    chosen = next(i for i, line in enumerate(table) if all(line.get(key) == entry.chosen[key] for key in entry.chosen))
    full = table[chosen].get("share", 1.0)
    folds = [line.get("by_fold") if line.get("share", 1.0) == full else None for line in table]
    items = [int(fold["n"]) for fold in entry.details.get("folds") or []]
    against = fold_tests.compared(folds, items, best=chosen)
    found = [
        Tried(
            setting=leaderboard.described({key: line[key] for key in keys}),
            chosen=i == chosen,
            score=line.get(metric.name),
            share=line.get("share", 1.0),
            on_folds=against[i],
            fit_s=line["fit_s"],
            failed=line.get("failed", ""),
        )
        for i, line in enumerate(table)
    ]
    sign = -1 if metric.greater_is_better else 1

    def place(one: Tried) -> tuple[Any, ...]:
        return -one.share, one.score is None, sign * (one.score or 0.0), not one.chosen

    return sorted(found, key=place)
