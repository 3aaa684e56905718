from collections import Counter

import numpy as np
import pytest

from icebox.features import stratification


def drawn(seed: int, n: int = 400, groups: int | None = None):
    """n items of five labels, from common to rare."""
    random = np.random.default_rng(seed)
    rates = [0.6, 0.3, 0.1, 0.05, 0.02]
    sets = [[f"l{i}" for i, rate in enumerate(rates) if random.random() < rate] for _ in range(n)]
    identities = [str(i if groups is None else i % groups) for i in range(n)]
    return identities, sets


SHARES = {"train": 0.7, "val": 0.1, "test": 0.2}


@pytest.mark.parametrize("seed", range(5))
def test_each_label_has_its_share_of_each_part_rare_ones_too(seed):
    identities, sets = drawn(seed)
    parts = stratification.divide(stratification.units_of(zip(identities, sets, strict=True)), SHARES, seed=seed)
    assert set(parts) == set(identities)
    total = Counter(name for names in sets for name in names)
    for part, share in SHARES.items():
        inside = [names for identity, names in zip(identities, sets, strict=True) if parts[identity] == part]
        assert abs(len(inside) - share * len(sets)) <= 2
        for label, count in Counter(name for names in inside for name in names).items():
            assert abs(count - share * total[label]) <= max(2, 0.05 * total[label]), (part, label)


def test_groups_stay_together_and_are_divided_by_all_their_labels():
    identities, sets = drawn(0, groups=80)
    units = stratification.units_of(zip(identities, sets, strict=True))
    assert len(units) == 80
    assert sum(unit.items for unit in units) == 400
    parts = stratification.divide(units, SHARES, seed=0)
    sizes = Counter(parts[identity] for identity in identities)
    assert abs(sizes["test"] - 80) <= 10
    assert abs(sizes["val"] - 40) <= 10


def test_the_draw_depends_on_the_seed_and_not_on_the_order_of_items():
    identities, sets = drawn(1)
    pairs = list(zip(identities, sets, strict=True))
    first = stratification.divide(stratification.units_of(pairs), SHARES, seed=0)
    assert stratification.divide(stratification.units_of(pairs[::-1]), SHARES, seed=0) == first
    assert stratification.divide(stratification.units_of(pairs), SHARES, seed=1) != first


def test_four_items_by_hand():
    """Of the rare label, two items, one goes to each half; then each half gets one of the others."""
    units = stratification.units_of([("a", ["rare", "x"]), ("b", ["rare"]), ("c", ["x"]), ("d", [])])
    parts = stratification.divide(units, {"one": 0.5, "two": 0.5}, seed=0)
    assert parts["a"] != parts["b"]
    assert parts["c"] != parts["a"]
    assert Counter(parts.values()) == {"one": 2, "two": 2}
