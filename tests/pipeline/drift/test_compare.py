"""Size and power of the comparison, by simulation: false alarms at 5 %, and shifts that are found."""

import numpy as np
import pytest

from icebox.pipeline.drift import compare
from icebox.pipeline.drift.sketch import Sketch

RUNS, ALARMS_MAX = 40, 6  # more than six of forty at 5 % come once in a hundred such tests


def drawn(kind: str, n: int, random: np.random.Generator, d: int = 40) -> np.ndarray:
    """Features (n, d): independent normal ones, correlated ones, sparse ones, skewed ones of very different sizes."""
    match kind:
        case "normal":
            return random.normal(size=(n, d))
        case "correlated":
            return random.normal(size=(n, 1)) + 0.3 * random.normal(size=(n, d))
        case "sparse":
            return (random.random((n, d)) < np.linspace(0.001, 0.1, d)).astype(float)
        case "many":
            return random.normal(size=(n, 300)) @ np.diag(np.linspace(1, 20, 300))
    return random.exponential(size=(n, d)) ** 2 * 10.0 ** np.linspace(-3, 3, d)


def drift(reference: np.ndarray, new: np.ndarray, seed: int = 0) -> compare.Drift:
    sketch = Sketch({"seed": 0})
    for start in range(0, len(new), 64):
        sketch.add(new[start : start + 64])
    return compare.compared(sketch, reference, reference, split="train", random=np.random.default_rng(seed))


@pytest.mark.parametrize("kind", ["normal", "correlated", "sparse", "skewed", "many"])
@pytest.mark.parametrize(("m", "n"), [(300, 150)])
@pytest.mark.slow
def test_items_of_one_place_raise_no_more_alarms_than_they_may(
    kind: str, m: int, n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compare, "DRAWS", 199)
    random = np.random.default_rng(7)
    alarms = sum(drift(drawn(kind, m, random), drawn(kind, n, random), run).is_certain for run in range(RUNS))
    assert alarms <= 11  # of 100 at 5 %: more in one of a hundred such tests


@pytest.mark.parametrize("kind", ["normal", "correlated", "many"])
@pytest.mark.parametrize("where", ["all", "one"])
@pytest.mark.slow
def test_a_shift_of_half_a_deviation_is_found_with_200_items(kind: str, where: str) -> None:
    random = np.random.default_rng(3)
    hits = 0
    for run in range(10):
        reference, new = drawn(kind, 800, random), drawn(kind, 200, random)
        shift = 0.5 * reference.std(axis=0)
        new[:, slice(None) if where == "all" else slice(5, 6)] += shift if where == "all" else shift[5]
        hits += drift(reference, new, run).is_certain
    assert hits >= 9


def test_other_spread_and_other_clusters_are_found() -> None:
    random = np.random.default_rng(1)
    reference = drawn("normal", 600, random)
    wider = drift(reference, 1.5 * drawn("normal", 200, random))
    assert {each.name for each in wider.results if each.p_holm < 0.05} >= {"spread", "distance"}
    far = drift(reference, drawn("normal", 200, random) + 3)
    assert all(each.p_holm < 0.05 for each in far.results if each.name != "spread")
    assert far.as_text().startswith("drift: the 200 new items are of another kind than train")
    assert far.as_json()["drift"] is True
