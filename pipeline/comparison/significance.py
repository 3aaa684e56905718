"""How sure is the leaderboard? Each entry's interval, and its paired difference to the best on val.

The best on val is the reference, so that test chooses nothing. An entry that Holm's correction can't tell from it is
tied, whatever its place.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from icebox.features.manifest import manifest
from icebox.pipeline.comparison import bootstrap, statistics
from icebox.pipeline.comparison.classification_predictions import Judged, read
from icebox.pipeline.comparison.leaderboard import Entry
from icebox.pipeline.comparison.regression_predictions import Measured
from icebox.pipeline.comparison.statistics import Interval
from icebox.pipeline.project import paths

ALPHA = 0.05

Seen = Judged | Measured
Verdict = Literal["best", "tied", "better", "worse", "unknown"]


@dataclass(frozen=True)
class Versus:
    """An entry against the best on val, on the n test items that both were judged on.

    `difference` is its score less the best's, `wins` and `losses` the items that only it, or only the best, got right
    (None in a regression); `p` is of exact McNemar, or of a flip test where items come in groups or are numbers, as
    `test` says.
    """

    difference: float
    interval: Interval
    f1_interval: Interval | None
    test: Literal["exact McNemar", "flip test"]
    p: float
    p_holm: float
    n: int
    wins: int | None
    losses: int | None


@dataclass(frozen=True)
class Standing:
    """The 95 % intervals of an entry's test score and macro-F1, and how it stands to the best."""

    interval: Interval | None
    f1_interval: Interval | None
    versus: Versus | None
    verdict: Verdict


def standings(entries: Sequence[Entry], seen: Sequence[Seen | None]) -> list[Standing]:
    """A standing for each of one dataset's entries, best on val first; `seen` are their views of test.

    A view that is not on this machine leaves no difference, and of a regression no interval. Views are compared on
    the items that all of them hold, since a store may have skipped some.
    """
    alone = [None if entry.regression else statistics.interval(entry.score, int(entry.test["n"])) for entry in entries]
    found = [Standing(interval, None, None, "unknown") for interval in alone]
    shared = common(seen)
    views = {i: narrowed(one, shared) for i, one in enumerate(seen) if one and shared}
    if views:
        units = units_of(next(iter(views.values())).item_ids, groups_of(entries[0].dataset))
        draws = {i: bootstrap.bootstrap(scores_of(one), units) for i, one in views.items()}
        for i, one in views.items():
            versus = against(one, views[0], draws[i] - draws[0], units) if i and 0 in views else None
            found[i] = Standing(*intervals(one, draws[i], units), versus, "unknown")
    if found:
        found[0] = replace(found[0], verdict="best")
    return decided(found, smaller_is_better=bool(entries) and entries[0].regression)


def common(seen: Sequence[Seen | None]) -> set[str]:
    """The ids of the items in every view."""
    sets = [set(one.item_ids) for one in seen if one]
    return set.intersection(*sets) if sets else set()


def decided(found: list[Standing], *, smaller_is_better: bool) -> list[Standing]:
    """The same with Holm's p-values, and what they say."""
    compared = [i for i, each in enumerate(found) if each.versus]
    adjusted = dict(zip(compared, statistics.holm([versus(found[i]).p for i in compared]), strict=True))
    done = list(found)
    for i, p_holm in adjusted.items():
        one = replace(versus(found[i]), p_holm=p_holm)
        better = (one.difference > 0) != smaller_is_better
        verdict: Verdict = "tied" if p_holm >= ALPHA else "better" if better else "worse"
        done[i] = replace(found[i], versus=one, verdict=verdict)
    return done


def versus(one: Standing) -> Versus:
    """The comparison, which must be there."""
    assert one.versus is not None
    return one.versus


def scores_of(one: Seen) -> list[bootstrap.Score]:
    """Accuracy and macro-F1, or the root mean squared error."""
    if isinstance(one, Measured):
        return [bootstrap.rmse(one.errors)]
    return [bootstrap.accuracy(one.right), bootstrap.macro_f1(one.labels, one.predicted, len(one.classes))]


def intervals(one: Seen, draws: np.ndarray, units: np.ndarray) -> tuple[Interval, Interval | None]:
    """Of the score and of macro-F1, from their draws (1 or 2, b)."""
    u = int(units.max()) + 1
    if isinstance(one, Measured):
        return bootstrap.error_interval(one.errors, units), None
    drawn = [bootstrap.interval(values, u) for values in draws]
    # near 0 and 1 the draws hardly vary; of Wilson's items a unit is the least that is known to be independent
    closed = min(holding(one.right, units), holding(~one.right, units)) < bootstrap.FEW
    return statistics.interval(one.score, u) if closed else drawn[0], drawn[1]


def against(one: Seen, best: Seen, draws: np.ndarray, units: np.ndarray) -> Versus:
    """One against the best on the same n items; draws: (1 or 2, b) of the differences of their scores."""
    n, u = len(units), int(units.max()) + 1
    drawn, difference = [bootstrap.interval(values, u) for values in draws], one.score - best.score
    if isinstance(one, Measured) or isinstance(best, Measured):
        assert isinstance(one, Measured)
        assert isinstance(best, Measured)
        p = bootstrap.flip_test(one.errors**2 - best.errors**2, units)
        return Versus(difference, drawn[0], None, "flip test", p, p, n, None, None)
    won, lost = one.right & ~best.right, best.right & ~one.right
    wins, losses = int(won.sum()), int(lost.sum())
    if u < n:
        p = bootstrap.flip_test(one.right.astype(np.float64) - best.right, units)
    else:
        p = statistics.sign_test(wins, losses)
    if min(holding(won, units), holding(lost, units)) < bootstrap.FEW:
        drawn[0] = statistics.paired_interval(wins * u / n, losses * u / n, u)
    return Versus(difference, drawn[0], drawn[1], "flip test" if u < n else "exact McNemar", p, p, n, wins, losses)


def holding(answers: np.ndarray, units: np.ndarray) -> int:
    """How many units hold one of these answers (n,) bool."""
    return len(np.unique(units[answers]))


def narrowed(one: Seen, item_ids: set[str]) -> Any:
    """The same view of these items only, by their ids' order, so that two views stand side by side."""
    order = sorted((item_id, i) for i, item_id in enumerate(one.item_ids) if item_id in item_ids)
    kept = np.array([i for _, i in order])
    columns = {"labels": one.labels[kept], "predicted": one.predicted[kept]}
    if isinstance(one, Judged):
        columns["sure"] = one.sure[kept]
    return replace(one, item_ids=[item_id for item_id, _ in order], **columns)


def units_of(item_ids: Sequence[str], groups: Mapping[str, str]) -> np.ndarray:
    """The number (n,) of each item's unit: its group's, or its own."""
    names = [groups.get(item_id) or f"\0{item_id}" for item_id in item_ids]
    number = {name: i for i, name in enumerate(dict.fromkeys(names))}
    return np.array([number[name] for name in names])


def groups_of(dataset: str) -> dict[str, str]:
    """The groups of a dataset's items, where its manifest is here."""
    path = paths.manifest(dataset)
    return {row.item_id: row.group for row in manifest.read(path) if row.group} if path.exists() else {}


def seen_of(entry: Entry) -> dict[str, Seen]:
    """An entry's views of its test splits; none where the predictions are absent or of another run."""
    path = paths.predictions(entry.store, entry.head)
    found = read(path) if path.exists() else {}
    return found if "test" in found and agrees(entry, found["test"]) else {}


def agrees(entry: Entry, test: Seen) -> bool:
    """Whether predictions and metrics are of one run: metrics keep six digits."""
    return bool(np.isclose(test.score, entry.score, rtol=1e-4, atol=1e-6))
