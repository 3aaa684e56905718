"""Whether the items of a sketch are still of the kind of a split of the store: four tests, Holm's correction over them.

- mean: the greatest difference of a feature's mean, in standard errors;
- spread: whether new items lie wider, or closer together, along any of the sketch's projections;
- separation: a linear classifier on projected features (pipeline/data/two_sample.py);
- distance: whether new items lie further from their nearest item of train than the split's own items do.

How large the greatest of many differences gets by chance is known from random parts of the items against the rest. So
the tests hold for features that are no normal ones, and however these hang together (max-T, Westfall and Young 1993).

Letters: n new items, m items of the split, d features.
"""

from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from icebox.features.errors import IceboxError
from icebox.features.store.feature_store import FeatureStore
from icebox.pipeline.data import two_sample
from icebox.pipeline.data.feature_selection import FeatureSelection
from icebox.pipeline.data.multiple_testing import holm
from icebox.pipeline.drift.sketch import Sketch, projected

LEVEL = 0.05  # of all four tests together: false alarms
REFERENCE_ITEMS = 2000  # of the split, and of train for distances
DRAWS = 999
ITEMS_MIN = 20
NAMED = 3  # features that differ most


@dataclass(frozen=True)
class Result:
    """One test: its statistic, its p-value alone, and that by Holm over all."""

    name: str
    statistic: float
    p: float
    p_holm: float
    sentence: str


@dataclass(frozen=True)
class Drift:
    """The comparison of n new items with m of a split."""

    split: str
    items: int
    reference_items: int
    results: list[Result]

    @property
    def is_certain(self) -> bool:
        """Whether chance alone would show as much in one of twenty such comparisons at most."""
        return min(result.p_holm for result in self.results) < LEVEL

    def as_json(self) -> dict[str, object]:
        """All of it."""
        return {
            "drift": self.is_certain,
            "split": self.split,
            "items": self.items,
            "reference_items": self.reference_items,
            "tests": [vars(result) for result in self.results],
        }

    def as_text(self) -> str:
        """A verdict, then a line a test."""
        verdict = (
            f"drift: the {self.items:,} new items are of another kind than {self.split}"
            if self.is_certain
            else f"no drift: the {self.items:,} new items can't be told from {self.split}"
        )
        lines = [f"  {each.name:<11} p {shown(each.p_holm)}  {each.sentence}" for each in self.results]
        return "\n".join([verdict, *lines])


def compare(store: FeatureStore, selection: FeatureSelection, sketch: Sketch, *, split: str = "train") -> Drift:
    """Compare a sketch with a split. Raises IceboxError for too few items of either."""
    items = store.items(split)
    for name, count in (("the sketch", sketch.count), (split, len(items))):
        if count < ITEMS_MIN:
            raise IceboxError(f"{name}: expected {ITEMS_MIN} items or more to tell anything, found {count}")
    random = np.random.default_rng(0)
    rows = drawn(items, random)
    reference = selection.load(store, rows, every_view=False)
    train = store.items("train")
    train_rows = rows if split == "train" or not len(train) else drawn(train, random)
    near = reference if train_rows is rows else selection.load(store, train_rows, every_view=False)
    if reference.shape[1] != sketch.mean.size:
        raise IceboxError(f"the sketch is of {sketch.mean.size:,} features, the store has {reference.shape[1]:,}")
    with threadpool_limits(1):
        return compared(sketch, reference, near, split=split, random=random)


def compared(
    sketch: Sketch, reference: np.ndarray, train: np.ndarray, *, split: str, random: np.random.Generator
) -> Drift:
    """The comparison with features (m, d) of a split; `train` are features of train, the same object where the split
    is that."""
    sample = projected(reference, sketch.source)
    tests = [
        means(sketch, reference, random),
        spread(sketch, sample, random),
        separation(sketch, sample),
        distance(sketch, sample, sample if train is reference else projected(train, sketch.source), random),
    ]
    p_values = holm([p for _, _, p, _ in tests])
    results = [Result(*test[:3], p_holm, test[3]) for test, p_holm in zip(tests, p_values, strict=True)]
    return Drift(split, sketch.count, len(reference), results)


Test = tuple[str, float, float, str]  # name, statistic, p, sentence


def means(sketch: Sketch, reference: np.ndarray, random: np.random.Generator) -> Test:
    """The test of means. Chance is that of random parts of the split against its rest."""
    m, n = len(reference), sketch.count
    center = reference.mean(axis=0, dtype=np.float64)
    values = reference - center
    variance, step = np.square(values).mean(axis=0), sketch.mean - center
    # the variance of both together, as a part and its rest are together the split
    together = (m * variance + sketch.squares + np.square(step) * (m * n / (m + n))) / (m + n)
    observed = scaled(np.abs(step), np.sqrt(together)) / np.sqrt(1 / n + 1 / m)
    size = min(n, m // 2)
    by_chance = scaled(np.abs(part_differences(values, size, random)), np.sqrt(variance)).max(axis=1)
    by_chance /= np.sqrt(1 / size + 1 / (m - size))
    places = ", ".join(map(str, np.argsort(-observed, kind="stable")[:NAMED].tolist()))
    sentence = f"means differ by {observed.max():.1f} standard errors at most (features {places})"
    return "mean", float(observed.max()), share_of(by_chance, observed.max()), sentence


def spread(sketch: Sketch, reference: np.ndarray, random: np.random.Generator) -> Test:
    """The test of distances from the median, by ranks: a permutation test on projected features (m, p)."""
    from scipy.stats import rankdata

    n = len(sketch.sample)
    both = np.concatenate([sketch.sample, reference])
    ranks = rankdata(np.abs(both - np.median(both, axis=0)), axis=0)
    ranks = scaled(ranks - ranks.mean(axis=0), ranks.std(axis=0))
    difference = ranks[:n].mean(axis=0) - ranks[n:].mean(axis=0)
    observed = np.abs(difference).max()
    by_chance = np.abs(part_differences(ranks, n, random)).max(axis=1)
    wider = "wider" if difference[np.argmax(np.abs(difference))] > 0 else "closer together"
    sentence = f"where they differ most, the new items lie {wider}"
    return "spread", float(observed), share_of(by_chance, observed), sentence


def part_differences(values: np.ndarray, size: int, random: np.random.Generator) -> np.ndarray:
    """The mean of values (m, d) in each of DRAWS random parts less that of its rest, (DRAWS, d)."""
    m = len(values)
    parts = np.zeros((DRAWS, m), np.float32)
    for row in parts:
        row[random.choice(m, size, replace=False)] = 1
    inside = parts @ values.astype(np.float32)
    differences: np.ndarray = inside / size - (values.sum(axis=0) - inside) / (m - size)
    return differences


def share_of(by_chance: np.ndarray, observed: float) -> float:
    """The p-value of a statistic, by what chance gives."""
    return (1 + int((by_chance >= observed * (1 - 1e-6)).sum())) / (len(by_chance) + 1)


def separation(sketch: Sketch, reference: np.ndarray) -> Test:
    """The test by a classifier on projected features."""
    result = two_sample.separation(
        reference, sketch.sample, [f"r{i}" for i in range(len(reference))], [f"n{i}" for i in range(len(sketch.sample))]
    )
    assert result is not None  # there are enough items
    return "separation", result.auc, result.p, f"a linear classifier tells {result.auc:.0%} of pairs apart"


def distance(sketch: Sketch, reference: np.ndarray, train: np.ndarray, random: np.random.Generator) -> Test:
    """The test of distances to the nearest item of train, in the projection."""
    from scipy.stats import mannwhitneyu

    itself = train is reference
    pool = unit_variance(train, train)
    new = nearest(unit_variance(sketch.sample, train), pool)
    own = nearest(unit_variance(reference, train), pool, itself=itself)
    test = mannwhitneyu(new, own, alternative="greater")
    share = float(test.statistic) / (len(new) * len(own))
    sentence = f"of an item of each, the new one lies further from train in {share:.0%} of pairs"
    return "distance", share, float(test.pvalue), sentence


def nearest(features: np.ndarray, pool: np.ndarray, *, itself: bool = False) -> np.ndarray:
    """The squared distance (n,) of each item to the nearest of the pool; with `itself` to the nearest other one."""
    squares = np.square(features).sum(axis=1)[:, None] + np.square(pool).sum(axis=1) - 2 * features @ pool.T
    if itself:
        np.fill_diagonal(squares, np.inf)
    smallest: np.ndarray = np.maximum(squares.min(axis=1), 0)
    return smallest


def unit_variance(features: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Projected features (n, p) in deviations of train."""
    result: np.ndarray = scaled(features.astype(np.float64), train.std(axis=0, dtype=np.float64))
    return result


def scaled(values: np.ndarray, deviations: np.ndarray) -> np.ndarray:
    """Values by deviations; 0 where there is none, and nothing could differ."""
    result: np.ndarray = np.divide(values, deviations, out=np.zeros(np.shape(values)), where=deviations > 1e-12)
    return result


def drawn(items: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """At most REFERENCE_ITEMS of the items, in their order."""
    return items if len(items) <= REFERENCE_ITEMS else np.sort(random.choice(items, REFERENCE_ITEMS, replace=False))


def shown(p: float) -> str:
    """A p-value of five characters."""
    return "<.001" if p < 0.001 else f"{p:.3f}"
