"""Torch settings that every head trained by torch shares: threads, denormal numbers, float32 tensors."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from icebox.pipeline.data.on_disk import DiskFeatures

if TYPE_CHECKING:
    import torch


def use_one_thread() -> None:
    """Give torch one thread: the fits of a search run in parallel instead."""
    import torch

    torch.set_num_threads(1)


def float_tensor(values: Any, device: str) -> "torch.Tensor":
    """Copy an array to `device` as a contiguous float32 tensor."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32)).to(device)


def batch_reader(X: Any, device: str) -> "Callable[[torch.Tensor], torch.Tensor]":
    """A function of positions (b,) that gives these rows of features (n, d), as float32 on `device`."""
    if not isinstance(X, DiskFeatures):
        return float_tensor(X, device).__getitem__
    kept = X.kept()
    return lambda positions: float_tensor(kept[positions.cpu().numpy()], device)


@contextmanager
def flush_denormals() -> Iterator[None]:
    """Within this context the thread's torch computes with 0 for numbers below 1e-38 (denormals), which take
    Intel's processors a hundred times longer.

    A softmax gives such probabilities to classes that are out of the question, and the gradients hold them too:
    training 24 linear heads took 3.5 times as long. Torch can't tell how it was set; by default it is off.
    """
    import torch

    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
