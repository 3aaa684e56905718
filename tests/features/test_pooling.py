import pytest
import torch

from features.errors import IceboxError
from features.pooling import pool


def test_tokens_that_the_mask_hides_do_not_count():
    x = torch.tensor([[[1.0, -5.0], [3.0, -1.0], [99.0, 99.0]]])
    mask = torch.tensor([[1, 1, 0]])
    assert pool(x, "mean", mask).tolist() == [[2.0, -3.0]]
    assert pool(x, "max", mask).tolist() == [[3.0, -1.0]]
    assert pool(x, "cls", mask).tolist() == [[1.0, -5.0]]


def test_spatial_maps_are_averaged_maximised_or_flattened():
    x = torch.arange(8.0).reshape(1, 2, 2, 2)
    assert pool(x, "avg").tolist() == [[1.5, 5.5]]
    assert pool(x, "max").tolist() == [[3.0, 7.0]]
    assert pool(x, "flatten").tolist() == [list(range(8))]


def test_vectors_are_left_as_they_are():
    x = torch.tensor([[1.0, 2.0]])
    assert pool(x, "") is x


def test_a_pooling_that_does_not_fit_lists_those_that_do():
    with pytest.raises(IceboxError, match=r"'cls' does not fit .*\(1, 2, 2, 2\); fitting: avg, flatten, max"):
        pool(torch.zeros(1, 2, 2, 2), "cls")
