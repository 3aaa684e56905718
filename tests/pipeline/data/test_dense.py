from pathlib import Path

import numpy as np
import pytest

from icebox.features.abc.targets import IGNORED
from icebox.features.errors import IceboxError
from icebox.features.extraction import views as view_names
from icebox.pipeline.data import class_weights, dense
from icebox.pipeline.data.dense import Pictures
from tests.dense import CLASSES, scene, store


def test_pictures_come_by_split_with_the_names_of_the_classes(tmp_path: Path) -> None:
    data = dense.load(store(tmp_path))
    assert data.classes == CLASSES
    assert data.train.tolist() == [0, 1, 2, 3, 4, 5]
    assert data.val is not None
    assert data.val.tolist() == [6, 7]
    assert data.train_and_val.tolist() == [*range(8)]
    assert data.tests["test"].tolist() == [8, 9]
    np.testing.assert_array_equal(data.mask(2), scene(2)[1])


def test_a_cell_has_the_class_of_the_pixel_in_its_centre_and_a_mirrored_view_the_mirrored_ones(tmp_path: Path) -> None:
    data = dense.load(store(tmp_path, views=["identity", "hflip"]), views=["identity", "hflip"])
    mask = scene(0)[1]
    np.testing.assert_array_equal(data.cell_classes(0, "identity", (6, 8)), mask[2::4, 2::4])
    np.testing.assert_array_equal(data.cell_classes(0, "hflip", (24, 32)), mask[:, ::-1])
    # what a head sees there is mirrored, too
    plain, mirrored = (data.maps.read(np.array([0]), view)[0] for view in ("identity", "hflip"))
    np.testing.assert_allclose(mirrored[:, :, :3], plain[:, ::-1, :3], atol=1e-6)


def test_drawn_cells_are_those_of_their_places(tmp_path: Path) -> None:
    data = dense.load(store(tmp_path, views=["identity", "hflip"]), views=["identity", "hflip"])
    cells = data.draw_cells(data.train, share=1.0, seed=0)
    assert len(cells) == 6 * 2 * 48
    assert (cells.weights == 1).all()
    assert cells.features.dtype == np.float32
    bright = cells.features[:, :3].mean(axis=1)
    assert bright[cells.labels == 1].min() > bright[cells.labels == 2].max()


def test_a_picture_has_the_same_cells_whatever_others_there_are(tmp_path: Path) -> None:
    data = dense.load(store(tmp_path))
    alone = data.draw_cells(np.array([3]), share=0.4, seed=1)
    among = data.draw_cells(np.array([0, 3, 5]), share=0.4, seed=1)
    first = len(data.draw_cells(np.array([0]), share=0.4, seed=1))
    np.testing.assert_array_equal(among.features[first : first + len(alone)], alone.features)
    other = data.draw_cells(np.array([3]), share=0.4, seed=2)
    assert alone.features.shape != other.features.shape or (alone.features != other.features).any()


def test_rare_classes_are_drawn_all_the_same_and_weigh_what_they_are() -> None:
    classes = np.array([0] * 5000 + [1] * 10 + [IGNORED] * 90)
    positions, weights = dense.draw(classes, 0.1, np.random.default_rng(0), least=4)
    drawn = classes[positions]
    assert IGNORED not in drawn
    assert np.bincount(drawn).tolist() == [500, 4]
    assert (weights[drawn == 0] == 1).all()
    assert weights[drawn == 1].sum() == pytest.approx(1)
    nothing, none = dense.draw(np.full(9, IGNORED), 0.5, np.random.default_rng(0), least=4)
    assert len(nothing) == len(none) == 0


@pytest.mark.parametrize("least", [0, 1, 4])
def test_over_many_pictures_every_class_weighs_what_it_is(least: int) -> None:
    classes, sums = np.array([0] * 30 + [1] * 3), np.zeros(2)
    for seed in range(3000):
        positions, weights = dense.draw(classes, 0.05, np.random.default_rng(seed), least=least)
        sums += np.bincount(classes[positions], weights=weights, minlength=2)
    assert sums / 3000 == pytest.approx([1.5, 0.15], rel=0.15)


def test_no_more_cells_are_drawn_than_memory_is_meant_to_hold(tmp_path: Path, monkeypatch) -> None:
    data = dense.load(store(tmp_path))
    monkeypatch.setattr(dense, "CELL_BYTES", 4 * 6 * 60)  # of 60 cells
    assert 40 <= len(data.draw_cells(data.train, share=1.0, seed=0)) < 60 * 1.5


@pytest.mark.parametrize(
    ("weights", "expected"),
    [("none", [1, 1, 1]), ("balanced", [0.5, 2.0, 0]), ("sqrt", [2 / 3, 4 / 3, 0]), ({"b": 3.0}, [1, 3, 1])],
)
def test_weights_of_classes(weights, expected) -> None:
    counts = np.array([80, 20, 0])
    found = class_weights.factors(weights, ["a", "b", "c"], counts, "here")
    if weights == "balanced":
        expected = [100 / 160, 100 / 40, 0]
    if weights == "sqrt":
        assert found[1] / found[0] == pytest.approx(2)
        assert (found * counts).sum() == pytest.approx(100)
    else:
        assert found == pytest.approx(expected)


def test_weights_of_items_are_the_square_roots_too() -> None:
    weigh = class_weights.sample_weighter("sqrt", ["a", "b"], "here")
    weights = weigh(np.array([0, 0, 0, 0, 1]))
    assert weights is not None
    assert weights.mean() == pytest.approx(1)
    assert weights[4] / weights[0] == pytest.approx(2)


def test_batches_are_all_pictures_once_in_one_view_each_with_its_own_mask(tmp_path: Path) -> None:
    data = dense.load(store(tmp_path, views=["identity", "hflip"]), views=["identity", "hflip"])
    pictures = Pictures(data, data.train)
    batches = list(pictures.batches(4, np.random.default_rng(0)))
    shown = [picture for of_batch, _ in batches for picture in of_batch]
    assert sorted(item for item, _ in shown) == data.train.tolist()
    assert {view for _, view in shown} == {"identity", "hflip"}
    for of_batch, maps in batches:
        for (item, view), each in zip(of_batch, maps, strict=True):
            np.testing.assert_array_equal(each, data.maps.read(np.array([item]), view)[0])
    ordered = [picture for of_batch, _ in pictures.batches(4, None) for picture in of_batch]
    assert ordered == [(item, "identity") for item in data.train.tolist()]


def test_all_tiles_of_a_grid_are_scored_and_other_views_alone() -> None:
    stored = ["identity", "hflip", "tile-1x2.1", "tile-1x2.2", "tile-2x2.1"]
    assert dense.scoring_views("hflip", stored) == ("hflip",)
    assert dense.scoring_views("tile-1x2.2", stored) == ("tile-1x2.1", "tile-1x2.2")


def test_a_store_without_test_or_with_one_class_only_is_one_line(tmp_path: Path, monkeypatch) -> None:
    with pytest.raises(IceboxError, match="expected pictures in test, found none"):
        dense.load(store(tmp_path, "rrvv"))
    data = dense.load(store(tmp_path / "other"))
    assert data.class_pixels(data.train).all()
    assert data.has_two_classes(data.train)
    monkeypatch.setattr(dense.DenseData, "mask", lambda self, item: np.full((24, 32), IGNORED) + (item == 2))
    with pytest.raises(IceboxError, match="expected pixels of at least two classes in train"):
        dense.load(data.maps.store)


def test_a_view_whose_part_of_the_picture_is_unknown_is_one_line(tmp_path: Path) -> None:
    data = dense.load(store(tmp_path))
    with pytest.raises(IceboxError, match=r"views: masks and boxes can't follow 'random-resized-crop\.1'"):
        data.region(0, "random-resized-crop.1")


@pytest.mark.parametrize(
    ("stored", "seen"),
    [(["five-crop"], None), (["identity", "five-crop"], ["five-crop"]), (["tile-1x2.1", "identity"], None)],
)
def test_pictures_are_not_scored_by_a_part_of_them(tmp_path: Path, stored, seen) -> None:
    names = view_names.expand_names(stored, "views")
    made = store(tmp_path, views=["identity"])
    made.views = names
    with pytest.raises(
        IceboxError, match=r"views: pictures are scored in the first view, and '[^']+' shows no whole one"
    ):
        dense.load(made, views=view_names.expand_names(seen, "views") if seen else None)
