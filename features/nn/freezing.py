"""Freeze and unfreeze a network's parameters, epoch by epoch."""

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
    """The value of `free` in each epoch: itself, or of {first epoch: value} the latest that has begun."""
    if not isinstance(free, Mapping):
        return [free] * epochs
    if 0 not in free or not all(0 <= first < epochs for first in free):
        raise IceboxError(f"free: expected epochs from 0 to {epochs - 1}, with one for 0, found {sorted(free)}")
    return [free[max(first for first in free if first <= epoch)] for epoch in range(epochs)]


def free_parameters(free: Any, network: nn.Module, order: Sequence[str]) -> set[str]:
    """Names of the parameters to train: `all`, `none`, those of the `last K` blocks, or those that match patterns.

    `order` are the network's blocks in the order of the forward pass. A pattern is matched against a parameter's whole
    name, with `*` for anything. Parameters that no output needs (a pooler's) get no gradient and stay as they are.
    """
    every = [name for name, _ in network.named_parameters()]
    if free == NONE:
        return set()
    if free == ALL:
        return set(every)
    if isinstance(free, str):
        last = LAST.fullmatch(free)
        if not last:
            raise IceboxError(f"free: expected all, none, `last K` or a list of patterns, found '{free}'")
        if int(last[1]) > len(order):
            raise IceboxError(f"free: '{free}', but there are {len(order)} blocks: {', '.join(order)}")
        return {name for name in every if any(blocks.is_within(name, block) for block in order[-int(last[1]) :])}
    for pattern in free:
        if not any(fnmatchcase(name, pattern) for name in every):
            raise IceboxError(f"free: pattern '{pattern}' matches no parameter; the blocks are {', '.join(order)}")
    return {name for name in every if any(fnmatchcase(name, pattern) for pattern in free)}


def apply(network: nn.Module, free: set[str]) -> None:
    """Require gradients for exactly these parameters."""
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name in free)


def set_modes(network: nn.Module, free: set[str], order: Sequence[str], *, norm_statistics_frozen: bool) -> None:
    """Training mode (dropout, batch statistics) in blocks with a free parameter, eval mode in the other blocks.

    What lies in no block, as GPT-2's dropout of embeddings does, is in training mode where no block is frozen. With
    `norm_statistics_frozen` batch norms stay in eval mode too: small batches would spoil their statistics.
    """
    trained = [block for block in order if any(blocks.is_within(name, block) for name in free)]
    network.train(len(trained) == len(order))
    for block in trained:
        network.get_submodule(block).train()
    for module in network.modules():
        if norm_statistics_frozen and isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
