"""Several views of an item in one store."""

import random
import re
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icebox.features.backbones.pixels import PixelsBackbone
from icebox.features.errors import IceboxError
from icebox.features.extraction import views
from icebox.features.extraction.extract import extract
from icebox.features.manifest.manifest import Manifest
from icebox.features.store import verification
from icebox.features.store.feature_store import FeatureStore
from icebox.features.store.shard_cache.compaction import compact
from tests.tiny import Doubling, pairs, picture, pictures, rows

TWO = ("identity", "hflip")
SIX = views.expand_names(["hflip", "identity", "random-resized-crop-4"], "views")


class Counting(PixelsBackbone):
    """Two by two grey pixels; counts what passes."""

    def __init__(self) -> None:
        super().__init__(size=2, grey=True, outputs=["last"])
        self.passed = 0

    def encode(self, prepared):
        self.passed += len(prepared)
        return super().encode(prepared)


def run(folder: Path, numbers, seen=TWO, **options):
    backbone = Counting()
    extract(
        pictures(*numbers),
        read=picture,
        backbone=backbone,
        cache_root=folder / "cache",
        store=folder / options.pop("store", "store"),
        views=seen,
        **{"batch_size": 2, "shard_rows": 3} | options,
    )
    return FeatureStore(folder / "store"), backbone.passed


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("name", [f"random-resized-crop{number}" for number in ("-1000", "-99999999", ".1000")])
def test_more_random_crops_than_anyone_can_store_are_refused_before_their_names_are_made(name):
    assert len(views.expand_names(["random-resized-crop-999"], "views")) == 999
    with pytest.raises(IceboxError, match=f"^views: expected at most 999 random crops, found '{name}'$"):
        views.expand_names([name], "views")
    assert re.fullmatch(views.json_schema()["anyOf"][1]["pattern"], name) is None


def test_names_of_groups_expand_to_their_members():
    assert views.expand_names(["hflip", "random-resized-crop-2", "identity", "hflip"], "views") == (
        "hflip",
        "random-resized-crop.1",
        "random-resized-crop.2",
        "identity",
    )
    assert len(views.expand_names(["five-crop", "five-crop.centre"], "views")) == 5
    with pytest.raises(IceboxError, match=r"extract\.views: no view 'hflop'; did you mean 'hflip'"):
        views.expand_names(["hflop"], "extract.views")


def test_each_view_reads_as_its_own(tmp_path):
    store, _ = run(tmp_path, [51, 102])
    assert store.views == TWO
    assert store.load()[:, 1].tolist() == pytest.approx([0.2, 0.4])
    assert store.load(view="hflip")[:, :2].ravel().tolist() == pytest.approx([0.2, 0, 0.4, 0])
    batches = [batch[:, 0].tolist() for batch, _ in store.batches(1, view="hflip")]
    assert batches == [[pytest.approx(0.2)], [pytest.approx(0.4)]]
    assert store.as_torch(view="hflip")[1][0].tolist() == pytest.approx([0.4, 0, 0.4, 0])
    with pytest.raises(IceboxError, match=r"no view 'five-crop.centre'; known: identity, hflip"):
        store.load(view="five-crop.centre")


@settings(max_examples=25, deadline=None)
@given(
    numbers=st.lists(st.integers(0, 9), min_size=1, max_size=12),
    before=st.lists(st.integers(0, 9), max_size=6),
    seen=st.permutations(SIX).map(lambda names: names[:3]),
    shard_rows=st.integers(1, 7),
    seed=st.integers(0, 9),
)
@pytest.mark.slow
def test_what_was_encoded_is_what_is_read_in_every_view(tmp_path_factory, numbers, before, seen, shard_rows, seed):
    folder = tmp_path_factory.mktemp("x")
    if before:
        run(folder, before, seen[:2])
    store, _ = run(folder, numbers, seen, shard_rows=shard_rows)
    backbone = Counting()
    expected = {
        view: backbone.encode([views.prepare(backbone, picture(str(number)), view) for number in numbers])["last"]
        for view in seen
    }
    order = np.random.default_rng(seed).permutation(len(numbers))
    with h5py.File(folder / "store/index.h5") as file:
        for view, group in zip(seen, ("", f"views/{seen[1]}/", f"views/{seen[2]}/"), strict=True):
            np.testing.assert_array_equal(store.load(output="last", view=view), expected[view])
            np.testing.assert_array_equal(store.load_items(order, view=view), expected[view][order])
            np.testing.assert_array_equal(file[f"{group}features/last"][:], expected[view])
    assert verification.verify_store(folder / "store") == []
    compact(folder / "store", folder / "cache")
    compacted = FeatureStore(folder / "store")
    assert all(np.array_equal(compacted.load(view=view), expected[view]) for view in seen)


def test_adding_a_view_extracts_that_view_and_comes_to_the_bytes_of_both_at_once(tmp_path):
    run(tmp_path / "both", range(10))
    run(tmp_path / "later", range(10), ["identity"])
    before = contents(tmp_path / "later/store")
    _, passed = run(tmp_path / "later", range(10))
    assert passed == 10 + 1 + 4  # one finds out how wide a row is, four are the canary's
    assert contents(tmp_path / "later/store") == contents(tmp_path / "both/store")
    _, passed = run(tmp_path / "later", range(10), ["identity"])
    assert passed == 4
    assert contents(tmp_path / "later/store") == before


def test_a_store_of_the_identity_alone_is_the_same_file_as_without_views(tmp_path):
    options = {"read": lambda source: source, "backbone": Doubling(), "cache_root": tmp_path / "cache"}
    extract(rows("1", "2"), store=tmp_path / "with", views=["identity"], **options)
    extract(rows("1", "2"), store=tmp_path / "without", **options)
    assert contents(tmp_path / "with") == contents(tmp_path / "without")
    with h5py.File(tmp_path / "with/index.h5") as file:
        assert set(file) == {"item_id", "label", "split", "shard", "row", "features"}


def test_order_of_items_and_number_of_workers_do_not_change_a_view(tmp_path):
    numbers = list(range(12))
    one, _ = run(tmp_path / "one", numbers, SIX, workers=1)
    random.Random(0).shuffle(numbers)
    other, _ = run(tmp_path / "other", numbers, SIX, workers=5)
    for view in SIX:
        np.testing.assert_array_equal(other.load(view=view), one.load(view=view)[numbers])


def test_a_picture_that_cannot_be_read_is_skipped_in_every_view(tmp_path):
    items = [*pictures(1, 2), *rows("bad")]
    from icebox.features import fingerprint

    items[2] = type(items[2])(
        item_id="none",
        item_key=fingerprint.of_content(picture("bad")),
        label="1",
        split="train",
        group="",
        source="bad",
    )
    done = extract(
        items,
        read=picture,
        backbone=Counting(),
        cache_root=tmp_path / "cache",
        store=tmp_path / "store",
        views=TWO,
        skip_unreadable=True,
    )
    assert list(done.skipped) == ["none"]
    assert len(FeatureStore(tmp_path / "store").load(view="hflip")) == 2


def test_views_that_a_backbone_does_not_take_are_refused(tmp_path):
    with pytest.raises(IceboxError, match="'hflip' is a view for a backbone of images; 'doubling' takes texts"):
        views.refuse_other_modality(["hflip"], "text", "doubling")
    with pytest.raises(IceboxError, match="'first' is a view for a backbone of texts; 'pixels' takes images"):
        views.refuse_other_modality(["first"], "image", "pixels")


TEXTS = [("1", "2"), ("1", "3"), ("3", "1"), ("2", "2")]


def siamese(folder: Path, texts=TEXTS, **options):
    items, known = pairs(*texts)
    backbone = Doubling()
    done = extract(
        items,
        read=known.__getitem__,
        backbone=backbone,
        cache_root=folder / "cache",
        store=folder / "store",
        views=views.TEXTS,
        shard_rows=3,
        **options,
    )
    return FeatureStore(folder / "store"), done, backbone


def test_each_distinct_text_of_pairs_passes_once(tmp_path):
    store, done, backbone = siamese(tmp_path)
    assert (done.items, done.distinct, done.passed) == (4, 3, 3)
    assert sorted(backbone.passed) == ["1", "1", "2", "3"]  # the first finds out how wide a row is
    assert store.load(output="last", view="first")[:, 0].tolist() == [1, 1, 3, 2]
    assert store.load(output="last", view="second")[:, 0].tolist() == [2, 3, 1, 2]


def test_pairs_read_as_both_texts_their_difference_and_their_product(tmp_path):
    store, _, _ = siamese(tmp_path)
    u, v = (store.load(outputs=["last"], view=view) for view in views.TEXTS)
    expected = np.concatenate([u, v, abs(u - v), u * v], axis=1)
    np.testing.assert_array_equal(store.load(outputs=["last"]), expected)
    np.testing.assert_array_equal(store.load(output="last"), expected)
    np.testing.assert_array_equal(store.load(outputs=["last"], view="pair"), expected)
    streamed = np.concatenate([batch for batch, _ in store.batches(3, outputs=["last"])])
    np.testing.assert_array_equal(streamed, expected)
    assert store.load().shape == (4, 4 * 6)


def test_texts_of_pairs_and_single_texts_share_their_rows(tmp_path):
    siamese(tmp_path)
    backbone = Doubling()
    done = extract(
        rows("1", "2", "4"),
        read=lambda source: source,
        backbone=backbone,
        cache_root=tmp_path / "cache",
        store=tmp_path / "single",
    )
    assert done.passed == 1
    assert FeatureStore(tmp_path / "single").load(output="last")[:, 0].tolist() == [1, 2, 4]


def test_a_store_without_pairs_has_no_view_of_them(tmp_path):
    store, _ = run(tmp_path, [1])
    with pytest.raises(IceboxError, match="no view 'pair', which is of texts in pairs; known: identity, hflip"):
        store.load(view="pair")


def test_texts_of_what_is_no_pair_are_refused(tmp_path):
    with pytest.raises(IceboxError, match="'first' is a text of a pair; found an item that is a str"):
        views.view_keys(Manifest.of(rows("1")), views.TEXTS, lambda source: source)
