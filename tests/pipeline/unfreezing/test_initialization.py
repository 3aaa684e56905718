"""A head and a network that have learned nothing."""

import numpy as np
import torch
from torch import nn

from icebox.pipeline.unfreezing.initialization import FreshHead, reset_parameters


def deep() -> nn.Sequential:
    """Twenty convolutions, each with a ReLU."""
    layers = [nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU()) for _ in range(20)]
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def test_a_deep_network_drawn_anew_still_tells_pictures_apart():
    torch.manual_seed(0)
    network, pictures = deep(), torch.randn(16, 3, 12, 12)
    reset_parameters(network, seed=3)
    with torch.no_grad():
        assert network(pictures).std(0).max() > 0.01


def test_the_seed_alone_says_what_is_drawn():
    one, other, third = deep(), deep(), deep()
    reset_parameters(one, seed=3)
    torch.randn(5)
    reset_parameters(other, seed=3)
    reset_parameters(third, seed=4)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    assert not torch.equal(one[0].weight, third[0].weight)


def test_a_fresh_head_says_how_frequent_the_classes_are_and_stretches_no_constant():
    features = torch.tensor([[1.0, 0.0], [3.0, 0.0], [5.0, 0.0], [7.0, 0.0]])
    head = FreshHead(features, np.array([0, 0, 0, 1]), 2)
    with torch.no_grad():
        scores = head(features)
    torch.testing.assert_close(torch.softmax(scores, 1)[0], torch.tensor([0.75, 0.25]))
    assert head.scale.tolist() == [features[:, 0].std().item(), 1.0]


def test_a_fresh_head_of_sets_says_how_frequent_each_label_is():
    head = FreshHead(torch.rand(4, 2), np.array([[1, 0], [1, 1], [1, 0], [0, 0]], np.int8), 2)
    with torch.no_grad():
        torch.testing.assert_close(head(torch.rand(1, 2)).sigmoid()[0], torch.tensor([0.75, 0.25]))
