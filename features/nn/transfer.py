"""Asynchronous copies to a GPU and back: from pinned memory, on a stream beside the one that computes.

While the network runs one batch, the next one is copied to the GPU and the features of the last one back from it.
"""

from collections.abc import Callable, Mapping
from functools import cache

import torch
from torch import Tensor, nn


def to_device_async(tensor: Tensor, device: torch.device | str) -> Tensor:
    """Copy a tensor to `device` without blocking.

    On CUDA the copy runs on a stream of its own; kernels launched later on the current stream wait for it.
    """
    target = torch.device(device)
    if target.type != "cuda":
        return tensor.to(target)
    copying, computing = copy_stream(target), torch.cuda.current_stream(target)
    with torch.cuda.stream(copying):
        copied = tensor.pin_memory().to(target, non_blocking=True)
    computing.wait_stream(copying)
    copied.record_stream(computing)  # or its memory could be given to another batch while it is still read
    return copied


def to_host_async(tensors: Mapping[str, Tensor]) -> Callable[[], dict[str, Tensor]]:
    """Start asynchronous copies to host memory. Returns a function that waits for them and returns the CPU tensors."""
    gpu = next((tensor.device for tensor in tensors.values() if tensor.is_cuda), None)
    if gpu is None:
        return lambda: {name: tensor.cpu() for name, tensor in tensors.items()}
    on_host = {
        name: torch.empty_like(tensor, device="cpu", pin_memory=True).copy_(tensor, non_blocking=True)
        for name, tensor in tensors.items()
    }
    copied = torch.cuda.Event()
    copied.record(torch.cuda.current_stream(gpu))  # the tensors' GPU, which need not be the process's current one

    def wait() -> dict[str, Tensor]:
        copied.synchronize()
        return on_host

    return wait


@cache
def copy_stream(device: torch.device) -> torch.cuda.Stream:
    """The one stream of this process that copies to `device`."""
    return torch.cuda.Stream(device)


def plain_state(network: nn.Module) -> dict[str, Tensor]:
    """{name: tensor} of all parameters and buffers, on the CPU and contiguous: safetensors refuses channels-last."""
    return {name: tensor.contiguous().cpu() for name, tensor in network.state_dict().items()}
