"""Outputs of a vector a token: what was written is what is read."""

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icebox.features.errors import IceboxError
from icebox.features.extraction.extract import extract
from icebox.features.ragged import Ragged, ScatteredRows, joined
from icebox.features.store import verification
from icebox.features.store.feature_store import FeatureStore
from icebox.features.store.shard_cache.compaction import compact
from tests.tiny import Doubling, rows


class Spelling(Doubling):
    """Text "40" → `each` [[4, 8], [0, 0]], a row a digit, and `last` [[40, 80]]; the text "" has no digit."""

    outputs = ("last", "each")

    def prepare(self, content):
        return super().prepare(content or "0"), content

    def encode(self, prepared):
        digits = [np.array([[int(c), 2 * int(c)] for c in text], np.float32).reshape(-1, 2) for _, text in prepared]
        return {"last": super().encode([number for number, _ in prepared])["last"], "each": joined(digits)}


def run(folder, texts, **options):
    backbone = Spelling()
    extract(
        rows(*texts),
        read=lambda source: source,
        backbone=backbone,
        cache_root=folder / "cache",
        store=folder / "store",
        **{"shard_rows": 3, "batch_size": 2} | options,
    )
    return FeatureStore(folder / "store"), backbone


def spelt(ragged) -> list[str]:
    return ["".join(f"{value:g}" for value in row[:, 0]) for row in ragged]


TEXT = st.text(alphabet="0123456789", max_size=5)


@settings(max_examples=30, deadline=None)
@given(
    texts=st.lists(TEXT, min_size=1, max_size=15),
    before=st.lists(TEXT, max_size=6),
    shard_rows=st.integers(1, 6),
    stored=st.sampled_from(["float16", "float32"]),
    seed=st.integers(0, 9),
)
@pytest.mark.slow
def test_what_was_encoded_is_what_is_read(tmp_path_factory, texts, before, shard_rows, stored, seed):
    folder = tmp_path_factory.mktemp("x")
    if before:
        run(folder, before, stored=stored)
    store, _ = run(folder, texts, shard_rows=shard_rows, stored=stored)
    assert spelt(store.ragged("each")) == texts
    order = np.random.default_rng(seed).permutation(len(texts))
    assert spelt(store.ragged_rows(order, "each")) == [texts[i] for i in order]
    assert store.token_counts(order, "each").tolist() == [len(texts[i]) for i in order]
    with h5py.File(folder / "store/index.h5") as file:
        plain = Ragged(file["features/each"][:], file["offsets/each"][:])
        assert spelt(plain) == texts
        np.testing.assert_array_equal(plain.values[:, 1], 2 * plain.values[:, 0])
    assert verification.verify_store(folder / "store") == []
    compact(folder / "store", folder / "cache", shard_rows=shard_rows)
    assert spelt(FeatureStore(folder / "store").ragged("each")) == texts
    assert verification.verify_store(folder / "store") == []


def test_shards_hold_as_much_as_any_however_long_the_rows(tmp_path, monkeypatch):
    monkeypatch.setattr("icebox.features.extraction.extract.SHARD_BYTES", 400)
    long, _ = run(tmp_path / "long", ["1" * (number + 20) for number in range(9)], shard_rows=1024)
    short, _ = run(tmp_path / "short", [str(number) for number in range(9)], shard_rows=1024)
    assert len(long.shards) > len(short.shards)


def test_a_resumed_run_cuts_the_same_shards(tmp_path):
    texts = ["1" * (7 * number % 11 + 1) + str(number) for number in range(30)]
    run(tmp_path / "whole", texts)

    def read(source):
        if source == texts[20]:
            raise FileNotFoundError(source)
        return source

    with pytest.raises(IceboxError, match="item20"):
        extract(
            rows(*texts),
            read=read,
            backbone=Spelling(),
            cache_root=tmp_path / "torn/cache",
            store=tmp_path / "torn/store",
            shard_rows=3,
            batch_size=2,
        )
    run(tmp_path / "torn", texts)
    for path in (tmp_path / "whole/store").iterdir():
        assert (tmp_path / "torn/store" / path.name).read_bytes() == path.read_bytes()


def test_unreadable_items_and_items_of_no_token_read_as_such(tmp_path):
    store, _ = run(tmp_path, ["12", "bad", "", "3"], skip_unreadable=True)
    assert list(store.skipped) == ["item1"]
    assert spelt(store.ragged("each")) == ["12", "", "3"]
    assert spelt(store.ragged("each", split="val")) == []


def test_an_added_item_is_compared_with_what_was_stored(tmp_path):
    run(tmp_path, ["12", "3"])
    store, _ = run(tmp_path, ["12", "3", "4"])
    assert spelt(store.ragged("each")) == ["12", "3", "4"]

    class Longer(Spelling):
        def prepare(self, content):
            return super().prepare(content + "1")

    with pytest.raises(IceboxError, match="raise VERSION"):
        extract(
            rows("12", "5"),
            read=lambda source: source,
            backbone=Longer(),
            cache_root=tmp_path / "cache",
            store=tmp_path / "store",
        )


def test_what_needs_one_vector_an_item_says_what_to_choose(tmp_path):
    store, _ = run(tmp_path, ["12", "3"])
    assert store.load(outputs=["last"]).tolist() == [[12, 24], [3, 6]]
    with pytest.raises(IceboxError, match="'each' has a vector a token") as caught:
        store.load()
    assert (caught.value.hint, caught.value.values) == ("choose other outputs", {"store": "store", "outputs": "last"})
    with pytest.raises(IceboxError, match=r"store\.ragged\('each'\)"):
        next(store.batches(1))
    with pytest.raises(IceboxError, match=r"'last' has one vector an item; read it with store\.load"):
        store.ragged("last")
    with pytest.raises(IceboxError, match="no output 'eech'; did you mean 'each'"):
        store.ragged("eech")


def test_a_non_finite_token_names_its_item(tmp_path):
    class Infinite(Spelling):
        def encode(self, prepared):
            found = super().encode(prepared)
            found["each"].values[found["each"].values == 9] = np.inf
            return found

    with pytest.raises(IceboxError, match=r"'item2'.*'each'"):
        extract(
            rows("1", "2", "394"),
            read=lambda source: source,
            backbone=Infinite(),
            cache_root=tmp_path / "cache",
            store=tmp_path / "store",
        )


def test_a_ragged_output_is_a_sequence_of_arrays():
    ragged = joined([np.ones((2, 3)), np.zeros((0, 3)), np.full((1, 3), 5)])
    assert [len(row) for row in ragged] == [2, 0, 1]
    assert ragged[-1].tolist() == [[5, 5, 5]]
    with pytest.raises(IndexError):
        ragged[3]


def test_rows_may_be_filled_in_in_any_order():
    rows_ = ScatteredRows(3)
    rows_.put([2, 0], {"a": np.array([[2.0], [0.0]]), "b": joined([np.full((2, 1), 2.0), np.full((1, 1), 9.0)])})
    found = rows_.features()
    assert found["a"].tolist() == [[0], [0], [2]]
    assert [row.ravel().tolist() for row in found["b"]] == [[9], [], [2, 2]]
