"""The search table of a head: every setting that was tried, its score, and whether it differs by more than chance."""

from dataclasses import dataclass
from typing import Any

from icebox.pipeline.comparison import statistics
from icebox.pipeline.comparison.leaderboard import LeaderboardEntry, format_parameters
from icebox.pipeline.comparison.statistics import FoldComparison
from icebox.pipeline.evaluation.metrics import METRICS


@dataclass(frozen=True)
class SearchRow:
    """One setting, as the parameters by which it differs from the others.

    `share`: of train's items, as halving gave them to it. `failed`: why it could not be fitted, or empty.
    """

    setting: str
    chosen: bool
    score: float | None
    share: float
    on_folds: FoldComparison | None
    fit_s: float
    failed: str


def rows(entry: LeaderboardEntry) -> list[SearchRow]:
    """The settings, best first, the chosen one before its equals; none for a single setting, or for an ensemble."""
    table = entry.details.get("search") or []
    metric = METRICS[entry.details.get("choose", entry.metric.name)]
    if len(table) < 2 or "ensemble" in entry.details:
        return []
    keys = [key for key in entry.chosen if any(line.get(key) != table[0].get(key) for line in table)]
    chosen = next(i for i, line in enumerate(table) if all(line.get(key) == entry.chosen[key] for key in entry.chosen))
    full_share = table[chosen].get("share", 1.0)
    scores = [line.get("by_fold") if line.get("share", 1.0) == full_share else None for line in table]
    items = [int(fold["n"]) for fold in entry.details.get("folds") or []]
    comparisons = statistics.compare_on_folds(scores, items, best=chosen)
    settings = [
        SearchRow(
            setting=format_parameters({key: line.get(key) for key in keys}),
            chosen=i == chosen,
            score=line.get(metric.name),
            share=line.get("share", 1.0),
            on_folds=comparisons[i],
            fit_s=line["fit_s"],
            failed=line.get("failed", ""),
        )
        for i, line in enumerate(table)
    ]
    sign = -1 if metric.greater_is_better else 1

    def rank(row: SearchRow) -> tuple[Any, ...]:
        return -row.share, row.score is None, sign * (row.score or 0.0), not row.chosen

    return sorted(settings, key=rank)
