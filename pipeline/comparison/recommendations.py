"""Recommendations: sentences on what to do next, as far as the numbers bear them out, most useful first."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from icebox.pipeline.comparison import statistics
from icebox.pipeline.comparison.leaderboard import LeaderboardEntry
from icebox.pipeline.comparison.significance import Significance
from icebox.pipeline.comparison.slices import Slice
from icebox.pipeline.evaluation import formatting, metrics

MISCALIBRATED = 0.05  # of the expected calibration error
RISING = 0.01  # what the last doubling of labels must still bring; of an error, as a share of it
AssessedEntry = tuple[LeaderboardEntry, Significance]


def recommend(
    entries: Sequence[AssessedEntry],
    floor: AssessedEntry | None,
    slices: Sequence[Slice],
    grids: Mapping[str, Any],
    *,
    fits: Callable[[str, str, float], bool] = lambda head, parameter, value: True,
) -> list[str]:
    """The sentences for one dataset.

    `entries` stand best on val first; `slices` are the best one's for test; `grids` are the heads' parameters in
    params.yaml; `fits` says whether a head's parameter may have a value.
    """
    best = entries[0][0]
    return [
        *cheapest_of_tied(entries),
        *tied_floor(best, floor),
        *more_labels(best),
        *grid_edges(best, grids, fits),
        *unconverged(entries),
        *worst_slice(best, slices),
        *miscalibration(best),
    ]


def describe(entry: LeaderboardEntry) -> str:
    """`glyphnet · knn`."""
    return f"{entry.label} · {entry.head}"


def cheapest_of_tied(entries: Sequence[AssessedEntry]) -> Iterator[str]:
    """Take the smallest of the entries that can't be told apart."""
    tied = [entry for entry, result in entries if result.verdict in ("best", "tied")]
    if len(tied) < 2:
        return
    smallest = min(tied, key=lambda entry: entry.details.get("bundle_bytes") or float("inf"))
    same = "it is also the smallest" if smallest is tied[0] else f"the smallest of them is {describe(smallest)}"
    yield f"{len(tied) - 1} of {len(entries) - 1} others can't be told from the best on this test: {same}."


def tied_floor(best: LeaderboardEntry, floor: AssessedEntry | None) -> Iterator[str]:
    """More test items where the best can't be told from a backbone without a network."""
    if floor is None or floor[1].comparison is None or floor[1].verdict != "tied":
        return
    comparison = floor[1].comparison
    needed = (
        statistics.items_needed(comparison.wins, comparison.losses, comparison.n)
        if best.metric.interval == "proportion" and comparison.wins is not None and comparison.losses is not None
        else None
    )
    more = f"; about {needed:,} test items would, if it is real" if needed and needed > comparison.n else ""
    name = describe(floor[0])
    yield f"This test can't tell {best.label} from the floor, {name} ({comparison.n:,} items don't){more}."


def more_labels(best: LeaderboardEntry) -> Iterator[str]:
    """More labels, as far as the last step of the learning curve still rises."""
    curve = [point for point in best.details.get("labels") or [] if point["draws"]]
    curve = [point for point in curve if all(best.metric.name in draw["test"] for draw in point["draws"])]
    if len(curve) < 2:
        return
    fewer, most = sorted(curve, key=lambda point: point["train_n"])[-2:]
    gain = mean_score(most, best) - mean_score(fewer, best)
    gain = gain if best.metric.greater_is_better else -gain
    change = formatting.signed(gain, 3, like=mean_score(most, best))
    steps = f"from {fewer['train_n']:,} to {most['train_n']:,} train items brought {change} {best.metric.title}"
    if gain > RISING * (1.0 if best.metric.greater_is_better else mean_score(fewer, best)):
        yield f"More labels should still help: {steps}."
    else:
        yield f"More labels of the same kind will hardly help: {steps}."


def mean_score(point: Mapping[str, Any], entry: LeaderboardEntry) -> float:
    """The mean over the draws at one point of the learning curve."""
    scores = [draw["test"][entry.metric.name] for draw in point["draws"]]
    return float(sum(scores) / len(scores))


def grid_edges(
    best: LeaderboardEntry, grids: Mapping[str, Any], fits: Callable[[str, str, float], bool]
) -> Iterator[str]:
    """A longer list where a value at the end of its list was chosen, others were worse, and there are any beyond."""
    for key, values in grids.get(best.head, {}).items():
        value = best.chosen.get(key)
        numbers = isinstance(values, list) and len(set(values)) > 1 and all(is_number(each) for each in values)
        if not numbers or value not in (min(values), max(values)) or as_good_inside(best, key):
            continue
        larger = value == max(values)
        beyond = value + 1 if isinstance(value, int) else value * 2
        if not larger:
            beyond = value - 1 if isinstance(value, int) else value / 2
        if value and fits(best.head, key, beyond):
            end, way = ("largest", "larger") if larger else ("smallest", "smaller")
            place = f"heads.{best.head}.{key}"
            yield f"{describe(best)} chose {key}={value}, the {end} tried: try {way} ones in {place}."


def is_number(value: object) -> bool:
    """Whether a value is a number, and no truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def as_good_inside(best: LeaderboardEntry, key: str) -> bool:
    """Whether a setting with another value of this parameter was as good: then nothing speaks for going further."""
    trials = [trial for trial in best.details.get("search") or [] if best.metric.name in trial]
    scores = {
        other: max(metrics.utility(trial, best.metric.name) for trial in trials if trial.get(key) == other)
        for other in {trial.get(key) for trial in trials}
    }
    chosen = best.chosen.get(key)
    return any(score >= scores.get(chosen, score) for other, score in scores.items() if other != chosen)


def unconverged(entries: Sequence[AssessedEntry]) -> Iterator[str]:
    """Fits that were cut short: their scores are no verdict on the head."""
    if names := [describe(entry) for entry, _ in entries if entry.details.get("converged") is False]:
        yield f"Not converged, so perhaps better than they look: {', '.join(names)}."


def worst_slice(best: LeaderboardEntry, slices: Sequence[Slice]) -> Iterator[str]:
    """The worst slice of those whose interval lies wholly on the bad side of the whole test's score."""
    greater = best.metric.greater_is_better
    if best.score is None:
        return
    worse = [each for each in slices if (each.interval[1] < best.score if greater else each.interval[0] > best.score)]
    for each in sorted(worse, key=lambda each: each.score, reverse=not greater)[:1]:
        score = f"{formatting.number(each.score, 3)} on {each.n:,} items"
        yield f"Worse than average where {each.column} is “{each.value}”: {score}."


def miscalibration(best: LeaderboardEntry) -> Iterator[str]:
    """Calibration where the probabilities are off."""
    if (error := best.test.get("ece", 0.0)) <= MISCALIBRATED:
        return
    off = f"The best head's probabilities are off by {error:.2f} on average"
    if best.details.get("calibrate", "none") != "none":
        yield f"{off}, although they were calibrated on val: don't act on them."
    elif "ensemble" in best.details or "unfrozen" in best.details or best.chosen_on != "val":
        yield f"{off}: don't act on them as they are."
    else:
        yield f"{off}: calibrate them before acting on them (fit: {{calibrate: temperature}})."
