"""To a GPU and back without waiting: from pinned memory, on a stream beside the one that computes.

While one batch is in the network, the next one is on its way there, and the features of the last one on theirs.
"""

from collections.abc import Callable, Mapping
from functools import cache

import torch
from torch import Tensor


def to_device_async(tensor: Tensor, device: torch.device | str) -> Tensor:
    """A tensor on `device`; on a GPU it may still be on its way, which all that is computed from it there waits for."""
    there = torch.device(device)
    if there.type != "cuda":
        return tensor.to(there)
    beside, computing = copy_stream(there), torch.cuda.current_stream(there)
    with torch.cuda.stream(beside):
        found = tensor.pin_memory().to(there, non_blocking=True)
    computing.wait_stream(beside)
    found.record_stream(computing)  # or its memory could be given to another batch while it is still read
    return found


def to_host_async(tensors: Mapping[str, Tensor]) -> Callable[[], dict[str, Tensor]]:
    """Starts to copy tensors back to the processor; what is returned waits for them and gives them."""
    if not any(tensor.is_cuda for tensor in tensors.values()):
        return lambda: {name: tensor.cpu() for name, tensor in tensors.items()}
    here = {
        name: torch.empty_like(tensor, device="cpu", pin_memory=True).copy_(tensor, non_blocking=True)
        for name, tensor in tensors.items()
    }
    arrived = torch.cuda.Event()
    arrived.record()

    def wait() -> dict[str, Tensor]:
        arrived.synchronize()
        return here

    return wait


@cache
def copy_stream(device: torch.device) -> torch.cuda.Stream:
    """The one stream of this process that copies to `device`."""
    return torch.cuda.Stream(device)
