"""Recommendations: sentences on what to do next, as far as the numbers bear them out, most useful first."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from icebox.pipeline.comparison import statistics, test_predictions
from icebox.pipeline.comparison.leaderboard import LeaderboardEntry
from icebox.pipeline.comparison.significance import Significance
from icebox.pipeline.comparison.slices import Slice
from icebox.pipeline.comparison.test_predictions import ClassificationPredictions
from icebox.pipeline.evaluation import formatting

MISCALIBRATED = 0.05  # of the expected calibration error
WEAK = 0.15  # how far a class's recall lies below the mean before it is named
RISING = 0.01  # what the last doubling of labels must still bring; of an error, as a share of it
AssessedEntry = tuple[LeaderboardEntry, Significance]


def recommend(
    entries: Sequence[AssessedEntry],
    floor: AssessedEntry | None,
    predictions: ClassificationPredictions | None,
    slices: Sequence[Slice],
    grids: Mapping[str, Any],
) -> list[str]:
    """The sentences for one dataset.

    `entries` stand best on val first; `predictions` and `slices` are the best one's for test; `grids` are the heads'
    parameters in params.yaml.
    """
    best = entries[0][0]
    return [
        *cheapest_of_tied(entries),
        *tied_floor(best, floor),
        *more_labels(best),
        *grid_edges(best, grids),
        *unconverged(entries),
        *weakest_class(predictions),
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


def grid_edges(best: LeaderboardEntry, grids: Mapping[str, Any]) -> Iterator[str]:
    """A longer list where a value at the end of its list was chosen."""
    for key, values in grids.get(best.head, {}).items():
        value = best.chosen.get(key)
        numbers = isinstance(values, list) and len(values) > 1 and all(isinstance(each, int | float) for each in values)
        if not numbers or value not in (min(values), max(values)) or isinstance(value, bool):
            continue
        end, beyond = ("largest", "larger") if value == max(values) else ("smallest", "smaller")
        if value != 1 or end == "largest":  # there is no zeroth neighbor
            place = f"heads.{best.head}.{key}"
            yield f"{describe(best)} chose {key}={value}, the {end} tried: try {beyond} ones in {place}."


def unconverged(entries: Sequence[AssessedEntry]) -> Iterator[str]:
    """Fits that were cut short: their scores are no verdict on the head."""
    if names := [describe(entry) for entry, _ in entries if entry.details.get("converged") is False]:
        yield f"Not converged, so perhaps better than they look: {', '.join(names)}."


def weakest_class(predictions: ClassificationPredictions | None) -> Iterator[str]:
    """The class that is missed most, and the one that it is mostly taken for."""
    if predictions is None:
        return
    scores = [
        each for each in test_predictions.class_scores(predictions) if each["recall"] is not None and each["n"] >= 10
    ]
    if len(scores) < 3:
        return
    worst = min(scores, key=lambda each: each["recall"])
    if worst["recall"] > sum(each["recall"] for each in scores) / len(scores) - WEAK:
        return
    confusions = test_predictions.confusion_pairs(predictions, 10**6)
    confused_with = next(pair["predicted"] for pair in confusions if pair["actual"] == worst["class"])
    share = f"{worst['recall']:.0%} of {worst['n']}"
    yield f"The best head finds “{worst['class']}” least often ({share}), and mostly takes it for “{confused_with}”."


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
    if (error := best.test.get("ece", 0.0)) > MISCALIBRATED:
        yield f"The best head's probabilities are off by {error:.2f} on average: calibrate before acting on them."
