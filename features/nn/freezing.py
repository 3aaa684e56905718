"""Which parameters of a network are free to learn, epoch by epoch."""

import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from icebox.features.errors import IceboxError
from icebox.features.nn import blocks

ALL, NONE = "all", "none"
LAST = re.compile(r"last ([1-9]\d*)")


def free_by_epoch(free: Any, epochs: int) -> list[Any]:
    """What is free in each epoch: `free` itself, or the latest entry of {first epoch: what is free}."""
    if not isinstance(free, Mapping):
        return [free] * epochs
    if 0 not in free or not all(0 <= first < epochs for first in free):
        raise IceboxError(f"free: expected epochs from 0 to {epochs - 1}, with one for 0, found {sorted(free)}")
    return [free[max(first for first in free if first <= epoch)] for epoch in range(epochs)]


def free_parameters(free: Any, network: nn.Module, order: Sequence[str]) -> set[str]:
    """Names of the parameters that are free: `all`, `none`, those of the `last K` blocks, or those that match patterns.

    `order` are the network's blocks, first passed first. A pattern is matched against a parameter's whole name, with
    `*` for anything. What no data passes (a pooler that no output needs) gets no gradient and stays as it is.
    """
    every = [name for name, _ in network.named_parameters()]
    if free == NONE:
        return set()
    if free == ALL:
        return set(every)
    if isinstance(free, str):
        found = LAST.fullmatch(free)
        if not found:
            raise IceboxError(f"free: expected all, none, `last K` or a list of patterns, found '{free}'")
        if int(found[1]) > len(order):
            raise IceboxError(f"free: '{free}', but there are {len(order)} blocks: {', '.join(order)}")
        return {name for name in every if any(blocks.is_within(name, block) for block in order[-int(found[1]) :])}
    for pattern in free:
        if not any(fnmatchcase(name, pattern) for name in every):
            raise IceboxError(f"free: pattern '{pattern}' matches no parameter; the blocks are {', '.join(order)}")
    return {name for name in every if any(fnmatchcase(name, pattern) for pattern in free)}


def apply(network: nn.Module, free: set[str]) -> None:
    """Let exactly these parameters learn."""
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name in free)


def set_modes(network: nn.Module, free: set[str], order: Sequence[str], *, norm_statistics_frozen: bool) -> None:
    """Training mode (dropout, batch statistics) in blocks where something may learn; the rest as in extraction.

    Batch norms keep their statistics where these are to stay frozen: small batches would spoil them.
    """
    network.eval()
    for block in order:
        if any(blocks.is_within(name, block) for name in free):
            network.get_submodule(block).train()
    for module in network.modules():
        if norm_statistics_frozen and isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
