"""The state of a network as files hold it."""

from torch import Tensor, nn


def plain_state(network: nn.Module) -> dict[str, Tensor]:
    """{name: tensor} of all parameters and buffers, on the CPU and contiguous: safetensors refuses channels-last."""
    return {name: tensor.contiguous().cpu() for name, tensor in network.state_dict().items()}
