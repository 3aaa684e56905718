import pytest
import torch
from torch import nn

from icebox.features.nn import blocks
from icebox.features.weights import torchvision_models


def resnet18_blocks():
    network = torchvision_models.library().models.resnet18().eval()
    return network, blocks.names(network, lambda: [network(torch.zeros(1, 3, 32, 32))])


def test_a_resnets_blocks_are_its_stages():
    _, found = resnet18_blocks()
    assert found == ["conv1", "bn1", "layer1", "layer2", "layer3", "layer4", "fc"]


def test_a_network_that_is_one_sequence_is_taken_apart():
    network = torchvision_models.library().models.squeezenet1_1().eval()
    torchvision_models.remove_classifier(network)
    found = blocks.names(network, lambda: [network(torch.zeros(1, 3, 64, 64))])
    assert found == [f"features.{i}" for i in (0, 3, 4, 6, 7, 9, 10, 11, 12)]


class Bert(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.pooler = nn.Linear(4, 4)
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(nn.Linear(4, 4) for _ in range(3))})
        self.embeddings = nn.ModuleDict({"words": nn.Embedding(700, 4), "norm": nn.LayerNorm(4)})

    def forward(self, tokens):
        x = self.embeddings["norm"](self.embeddings["words"](tokens))
        for layer in self.encoder["layer"]:
            x = layer(x)
        self.pooler(x)  # called, but what it gives goes nowhere
        return x


def test_blocks_stand_in_the_order_of_the_data_and_what_it_never_reaches_is_none():
    network = Bert()
    found = blocks.names(network, lambda: [network(torch.tensor([[1, 2]]))])
    assert found == ["embeddings.words", "embeddings.norm", "encoder.layer.0", "encoder.layer.1", "encoder.layer.2"]
    assert all(not parameter.grad for parameter in network.parameters())


@pytest.mark.parametrize(("name", "number"), [("layer2.0.conv1.weight", 3), ("layer20.x", 0), ("class_token", 0)])
def test_a_parameter_lies_in_the_block_whose_name_it_begins_with_or_else_in_the_first(name, number):
    _, order = resnet18_blocks()
    assert blocks.block_index(name, order) == number
