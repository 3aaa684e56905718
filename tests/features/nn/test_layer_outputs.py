import numpy as np
import pytest
import torch
from torch import nn

from icebox.features.errors import IceboxError
from icebox.features.nn.layer_outputs import Inputs, LayerOutputs


class Deep(nn.Sequential):
    """1 → ×2 → ReLU in place → ×3, counting how often its last layer runs."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(1, 1, bias=False), nn.ReLU(inplace=True), nn.Linear(1, 1, bias=False))
        nn.init.constant_(self[0].weight, -2.0)
        nn.init.constant_(self[2].weight, 3.0)
        self.ran = 0
        self[2].register_forward_hook(lambda *_: setattr(self, "ran", self.ran + 1))


ONE = torch.tensor([[1.0], [-1.0]])


def test_a_layer_is_what_it_gave_before_a_relu_in_place():
    found = LayerOutputs(Deep(), ["0", "last"])(Inputs((ONE,)))
    assert found["0"].tolist() == [[-2], [2]]
    assert found["last"].tolist() == [[0], [6]]


def test_the_forward_pass_stops_at_the_deepest_layer_asked_for():
    network = Deep()
    LayerOutputs(network, ["0", "1"])(Inputs((ONE,)))
    assert network.ran == 0


def test_the_network_is_frozen_and_in_eval_mode():
    network = nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 4)).train()
    layer_outputs = LayerOutputs(network, ["last"])
    x = torch.ones(1, 4)
    np.testing.assert_array_equal(layer_outputs(Inputs((x,)))["last"], layer_outputs(Inputs((x,)))["last"])
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_an_unknown_layer_suggests_a_known_one():
    network = nn.Sequential()
    network.add_module("layer4", nn.Identity())
    with pytest.raises(IceboxError, match="no layer named 'layr4'; did you mean 'layer4'"):
        LayerOutputs(network, ["layr4"])


def test_half_precision_gives_float32_arrays_near_the_exact_ones():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64))
    x = torch.randn(8, 64)
    exact = LayerOutputs(network, ["last"])(Inputs((x,)))["last"]
    rounded = LayerOutputs(network, ["last"], precision="bfloat16")(Inputs((x,)))["last"]
    assert rounded.dtype == np.float32
    assert 0 < np.abs(rounded - exact).max() < 0.02
