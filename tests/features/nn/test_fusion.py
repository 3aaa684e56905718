import numpy as np
import pytest
import torch
from torch import Tensor, nn

from icebox.features.nn.fusion import conv_batchnorm_pairs, fuse_conv_batchnorm
from icebox.features.nn.layer_outputs import Inputs, LayerOutputs
from icebox.features.weights import torchvision_models

MODELS = torchvision_models.library().models


@pytest.fixture(autouse=True)
def one_thread():
    """Two threads on busy cores spend their time waiting for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def trained_looking(network: nn.Module) -> nn.Module:
    """Batch norms as after training: fresh ones do nothing."""
    random = torch.Generator().manual_seed(0)
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):
            for values, low, high in (
                (norm.weight.data, 0.5, 1.5),
                (norm.bias.data, -0.5, 0.5),
                (norm.running_mean, -0.5, 0.5),
                (norm.running_var, 0.5, 2),
            ):
                values.uniform_(low, high, generator=random)
    return network.eval()


def norms(network: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


@pytest.mark.parametrize(
    ("make", "left"),
    [
        (lambda: MODELS.ResNet(MODELS.resnet.BasicBlock, [1, 1, 1, 1]), 0),
        (lambda: MODELS.shufflenet_v2_x0_5(), 0),
        (lambda: MODELS.DenseNet(8, (2, 2), 8), 6),  # those that stand before their convolution
    ],
    ids=["resnet", "shufflenet", "densenet"],
)
def test_a_real_network_gives_the_same_with_its_batch_norms_folded_away(make, left):
    network = trained_looking(make())
    before = norms(network)
    small = fuse_conv_batchnorm(network)
    assert (norms(small), norms(network)) == (left, before)
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(small(x), network(x), rtol=1e-4, atol=1e-5)


class Shared(nn.Module):
    """The convolution's output is used twice, so that folding would change the sum."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1)

    def forward(self, x: Tensor) -> Tensor:
        given = self.conv(x)
        return self.norm(given) + given


class Twice(nn.Module):
    """One convolution, called twice, with a batch norm behind one of the calls."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.norm(self.conv(x)))


class Asking(Shared):
    """Can't be traced: what it does hangs on the values."""

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x)) if x.sum() > 0 else x


@pytest.mark.parametrize("network", [Shared(), Twice(), Asking(), nn.Linear(1, 1)])
def test_what_can_not_be_folded_is_left_alone(network):
    assert conv_batchnorm_pairs(network) == []
    assert fuse_conv_batchnorm(network) is network


def network() -> nn.Sequential:
    torch.manual_seed(0)
    parts = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Conv2d(2, 2, 3), nn.BatchNorm2d(2))
    return trained_looking(parts)


def test_a_convolution_that_is_asked_for_keeps_its_batch_norm():
    x = torch.randn(2, 1, 8, 8)
    with torch.inference_mode():
        expected = network()[0](x).flatten(1).numpy()
    layer_outputs = LayerOutputs(network(), ["0:flatten", "4:flatten"])
    assert norms(layer_outputs.inference_network) == 1
    found = layer_outputs(Inputs((x,)))
    np.testing.assert_allclose(found["0:flatten"], expected, atol=1e-6)
    with torch.inference_mode():
        np.testing.assert_allclose(found["4:flatten"], network()(x).flatten(1).numpy(), atol=1e-6)


def test_a_network_that_is_trained_is_no_longer_the_folded_one():
    x = torch.randn(2, 1, 8, 8)
    layer_outputs = LayerOutputs(network(), ["last:flatten"])
    before = layer_outputs(Inputs((x,)))["last:flatten"]
    assert norms(layer_outputs.network) == 2
    layer_outputs.make_trainable()
    layer_outputs.network[4].bias.requires_grad_(True)
    layer_outputs.tensors(Inputs((x,)))["last:flatten"].sum().backward()
    with torch.no_grad():
        layer_outputs.network[4].bias -= layer_outputs.network[4].bias.grad
    np.testing.assert_allclose(layer_outputs(Inputs((x,)))["last:flatten"], before - 2 * 4 * 4, atol=1e-4)
