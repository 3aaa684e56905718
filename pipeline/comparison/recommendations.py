"""What to do next: sentences that the numbers bear out, most useful first."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from icebox.pipeline.comparison import classification_predictions, statistics
from icebox.pipeline.comparison.classification_predictions import Judged
from icebox.pipeline.comparison.leaderboard import Entry
from icebox.pipeline.comparison.significance import Standing
from icebox.pipeline.comparison.slices import Slice

MISCALIBRATED = 0.05  # of the expected calibration error
WEAK = 0.15  # how far a class's recall lies below the mean before it is named
RISING = 0.01  # what the last doubling of labels must still bring
Named = tuple[Entry, Standing]


def given(
    lines: Sequence[Named], floor: Named | None, seen: Judged | None, slices: Sequence[Slice], grids: Mapping[str, Any]
) -> list[str]:
    """The sentences for one dataset. `lines` stand best on val first; `seen` is test as the best saw it; `grids` are
    the heads' parameters in params.yaml."""
    best = lines[0][0]
    return [
        *ties(lines),
        *against_floor(best, floor),
        *labels(best),
        *edges(best, grids),
        *unconverged(lines),
        *weakest(seen),
        *uneven(best, slices),
        *calibration(best),
    ]


def name(entry: Entry) -> str:
    """`glyphnet · knn`."""
    return f"{entry.backbone} · {entry.head}"


def ties(lines: Sequence[Named]) -> Iterator[str]:
    """Take the cheapest of what can't be told apart."""
    tied = [entry for entry, standing in lines if standing.verdict in ("best", "tied")]
    if len(tied) < 2:
        return
    cheap = min(tied, key=lambda entry: entry.details.get("bundle_bytes") or float("inf"))
    same = "it is also the smallest" if cheap is tied[0] else f"the smallest of them is {name(cheap)}"
    yield f"{len(tied) - 1} of {len(lines) - 1} others can't be told from the best on this test: {same}."


def against_floor(best: Entry, floor: Named | None) -> Iterator[str]:
    """Is the network worth it?"""
    if floor is None or floor[1].versus is None or floor[1].verdict != "tied":
        return
    versus = floor[1].versus
    needed = (
        statistics.items_needed(versus.wins, versus.losses, versus.n)
        if versus.wins is not None and versus.losses is not None
        else None
    )
    more = f"; about {needed:,} test items would, if it is real" if needed and needed > versus.n else ""
    yield f"This test can't tell {best.backbone} from the floor, {name(floor[0])} ({versus.n:,} items don't){more}."


def labels(best: Entry) -> Iterator[str]:
    """Would more labels help?"""
    curve = [point for point in best.details.get("labels") or [] if point["draws"]]
    if len(curve) < 2:
        return
    fewer, most = sorted(curve, key=lambda point: point["train_n"])[-2:]
    gain = mean(most, best) - mean(fewer, best)
    gain = gain if best.metric.greater_is_better else -gain
    steps = f"from {fewer['train_n']:,} to {most['train_n']:,} train items brought {gain:+.3f}"
    if gain > RISING:
        yield f"More labels should still help: {steps}."
    else:
        yield f"More labels of the same kind will hardly help: {steps}."


def mean(point: Mapping[str, Any], entry: Entry) -> float:
    """Of the draws at one point of the curve by number of labels."""
    scores = [draw["test"][entry.metric.name] for draw in point["draws"]]
    return float(sum(scores) / len(scores))


def edges(best: Entry, grids: Mapping[str, Any]) -> Iterator[str]:
    """A value chosen at the end of its list asks for a longer list."""
    for key, tried in grids.get(best.head, {}).items():
        value = best.chosen.get(key)
        numbers = isinstance(tried, list) and len(tried) > 1 and all(isinstance(each, int | float) for each in tried)
        if not numbers or value not in (min(tried), max(tried)) or isinstance(value, bool):
            continue
        end, beyond = ("largest", "larger") if value == max(tried) else ("smallest", "smaller")
        if value != 1 or end == "largest":  # there is no zeroth neighbour
            yield f"{name(best)} chose {key}={value}, the {end} tried: try {beyond} ones in heads.{best.head}.{key}."


def unconverged(lines: Sequence[Named]) -> Iterator[str]:
    """Numbers of a fit that was cut short are no verdict on the head."""
    if late := [name(entry) for entry, _ in lines if entry.details.get("converged") is False]:
        yield f"Not converged, so perhaps better than they look: {', '.join(late)}."


def weakest(seen: Judged | None) -> Iterator[str]:
    """The class that is missed most, and what it is taken for."""
    if seen is None:
        return
    classes = [
        line for line in classification_predictions.by_class(seen) if line["recall"] is not None and line["n"] >= 10
    ]
    if len(classes) < 3:
        return
    worst = min(classes, key=lambda line: line["recall"])
    if worst["recall"] > sum(line["recall"] for line in classes) / len(classes) - WEAK:
        return
    taken = next(
        pair["predicted"] for pair in classification_predictions.pairs(seen, 10**6) if pair["actual"] == worst["class"]
    )
    found = f"{worst['recall']:.0%} of {worst['n']}"
    yield f"The best head finds “{worst['class']}” least often ({found}), and mostly takes it for “{taken}”."


def uneven(best: Entry, slices: Sequence[Slice]) -> Iterator[str]:
    """A slice whose interval lies wholly on the bad side of the whole."""
    greater = best.metric.greater_is_better
    bad = [each for each in slices if (each.interval[1] < best.score if greater else each.interval[0] > best.score)]
    for each in sorted(bad, key=lambda each: each.score, reverse=not greater)[:1]:
        yield f"Worse than average where {each.column} is “{each.value}”: {each.score:.3f} on {each.n:,} items."


def calibration(best: Entry) -> Iterator[str]:
    """May its probabilities be believed?"""
    if (error := best.test.get("ece", 0.0)) > MISCALIBRATED:
        yield f"The best head's probabilities are off by {error:.2f} on average: calibrate before acting on them."
