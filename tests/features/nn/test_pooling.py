import pytest
import torch

from icebox.features.errors import IceboxError
from icebox.features.nn.pooling import pool


def test_tokens_that_the_mask_hides_do_not_count():
    x = torch.tensor([[[1.0, -5.0], [3.0, -1.0], [99.0, 99.0]]])
    mask = torch.tensor([[1, 1, 0]])
    assert pool(x, "mean", mask).tolist() == [[2.0, -3.0]]
    assert pool(x, "max", mask).tolist() == [[3.0, -1.0]]
    assert pool(x, "cls", mask).tolist() == [[1.0, -5.0]]
    assert pool(x, "final", mask).tolist() == [[3.0, -1.0]]


def test_spatial_maps_are_averaged_maximised_or_flattened():
    x = torch.arange(8.0).reshape(1, 2, 2, 2)
    assert pool(x, "avg").tolist() == [[1.5, 5.5]]
    assert pool(x, "max").tolist() == [[3.0, 7.0]]
    assert pool(x, "flatten").tolist() == [list(range(8))]


def test_avg_and_mean_are_two_words_for_one_thing():
    spatial, tokens, mask = torch.rand(2, 3, 4, 5), torch.rand(2, 3, 4), torch.tensor([[1, 1, 0], [1, 0, 0]])
    assert torch.equal(pool(spatial, "avg"), pool(spatial, "mean"))
    assert torch.equal(pool(tokens, "avg", mask), pool(tokens, "mean", mask))


def test_a_grid_keeps_where_in_the_picture_something_was():
    x = torch.tensor([[[0.0, 2.0, 10.0], [4.0, 6.0, 20.0]], [[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]])[None]  # (1, 2, 2, 3)
    assert pool(x, "grid-1").tolist() == [[7.0, 1.0]]
    assert pool(x, "grid-2").tolist() == [[1.0, 6.0, 5.0, 13.0, 1.0, 1.0, 1.0, 1.0]]  # the middle column is shared
    assert pool(x, "grid-12").shape == (1, 2 * 12 * 12)


def test_a_grid_of_the_maps_own_size_is_the_map():
    x = torch.rand(2, 3, 4, 4)
    assert torch.equal(pool(x, "grid-4"), pool(x, "flatten"))
    assert torch.allclose(pool(x, "grid-1"), pool(x, "avg"))


@pytest.mark.parametrize("how", ["grid-100", "grid-99999"])
def test_a_grid_has_at_most_99_cells_a_side(how):
    with pytest.raises(IceboxError, match=f"'{how}'.*grid-K, map, map-HxW, max, mean; K is at most 99"):
        pool(torch.zeros(1, 2, 2, 2), how)


@pytest.mark.parametrize("how", ["grid-0", "grid-", "grid--1", "grid-2x2", "grid", "grid-02"])
def test_a_grid_needs_a_whole_number_of_cells(how):
    with pytest.raises(IceboxError, match="fitting: avg, flatten, grid-K, map, map-HxW, max, mean"):
        pool(torch.zeros(1, 2, 4, 4), how)


def test_vectors_are_left_as_they_are():
    x = torch.tensor([[1.0, 2.0]])
    assert pool(x, "") is x


def test_a_pooling_that_does_not_fit_lists_those_that_do():
    with pytest.raises(IceboxError, match=r"'cls' does not fit .*\(1, 2, 2, 2\); fitting: avg, flatten, grid-K, map"):
        pool(torch.zeros(1, 2, 2, 2), "cls")
    with pytest.raises(IceboxError, match=r"'grid-2' does not fit .*fitting: avg, cls, final, max, mean, tokens"):
        pool(torch.zeros(1, 2, 3), "grid-2")
    with pytest.raises(IceboxError, match="fitting: none"):
        pool(torch.zeros(1, 2, 3, 4, 5), "avg")


def test_a_map_keeps_the_vector_of_each_position():
    x = torch.arange(2 * 3 * 4 * 5.0).reshape(2, 3, 4, 5)
    assert torch.equal(pool(x, "map"), x.permute(0, 2, 3, 1))
    assert torch.equal(pool(x, "map-2x5")[0, 0, 0], x[0, :, :2, 0].mean(1))


@pytest.mark.parametrize(
    ("frame", "before", "grid"), [((224, 224), 1, (14, 14)), ((28, 42), 5, (2, 3)), ((32, 16), 0, (4, 2))]
)
def test_a_map_of_tokens_is_the_grid_of_patches_without_those_before_them(frame, before, grid):
    x = torch.rand(2, before + grid[0] * grid[1], 3)
    patches = pool(x, "map", frame=frame)
    assert patches.shape == (2, *grid, 3)
    assert torch.equal(patches[1, -1, 0], x[1, before + (grid[0] - 1) * grid[1]])


def test_tokens_that_are_no_grid_of_the_picture_are_refused():
    with pytest.raises(IceboxError, match=r"'map' does not fit an output of 35 tokens: .* of 64×64 pixels"):
        pool(torch.rand(1, 35, 3), "map", frame=(64, 64))
    with pytest.raises(IceboxError, match="pooling 'map' does not fit an output of shape"):  # texts have no frame
        pool(torch.rand(1, 5, 3), "map")
