"""A network's blocks in the order of the forward pass: the unit of unfreezing."""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

BLOCKS_MIN = 4  # fewer than these say little about depth: the largest is then taken apart


def names(network: nn.Module, run: Callable[[], Iterable[Tensor]]) -> list[str]:
    """Names of the modules that hold the parameters, in the order of the forward pass, as in `network.named_modules()`.

    ResNet: conv1, bn1, layer1 … layer4; SqueezeNet: features.0, features.3 … features.12; BERT: embeddings,
    encoder.layer.0 … 11. `run` passes one batch and returns the outputs; a module that no output depends on (a pooler)
    is not a block.
    """
    first_call, used_parameters = trace(network, run)
    modules = [part for name in children(network, "") for part in unwrap(network, name)]
    while len(modules) < BLOCKS_MIN:
        splittable = [name for name in modules if children(network, name)]
        if not splittable:
            break
        largest = max(splittable, key=lambda name: sum(p.numel() for p in network.get_submodule(name).parameters()))
        position = modules.index(largest)
        parts = [part for name in children(network, largest) for part in unwrap(network, name)]
        modules[position : position + 1] = parts
    reached = [name for name in modules if any(is_within(parameter, name) for parameter in used_parameters)]

    def position_of(block: str) -> int:
        # word vectors that a softmax reads are used without a call, and come first
        return min((position for name, position in first_call.items() if is_within(name, block)), default=-1)

    return sorted(reached, key=position_of)


def unwrap(network: nn.Module, name: str) -> list[str]:
    """[the module], or its children where it is only a container: a module list, or a wrapper around one module."""
    module, parts = network.get_submodule(name), children(network, name)
    has_own_parameters = any(True for _ in module.parameters(recurse=False))
    if parts and not has_own_parameters and (len(parts) == 1 or isinstance(module, nn.ModuleList | nn.ModuleDict)):
        return [inner for part in parts for inner in unwrap(network, part)]
    return [name]


def children(network: nn.Module, name: str) -> list[str]:
    """Names of a module's children that hold parameters."""
    parts = network.get_submodule(name).named_children()
    return [f"{name}.{part}".lstrip(".") for part, child in parts if any(True for _ in child.parameters())]


def trace(network: nn.Module, run: Callable[[], Iterable[Tensor]]) -> tuple[dict[str, int], set[str]]:
    """({module: position of its first call}, names of the parameters that the outputs depend on), of one `run`."""
    first_call: dict[str, int] = {}

    def recorder(name: str) -> Callable[[nn.Module, object], None]:
        def hook(_module: nn.Module, _args: object) -> None:
            first_call.setdefault(name, len(first_call))

        return hook

    hooks = [module.register_forward_pre_hook(recorder(name)) for name, module in network.named_modules() if name]
    required_grad = {name: parameter.requires_grad for name, parameter in network.named_parameters()}
    try:
        network.requires_grad_(True)
        with torch.enable_grad():
            total = torch.stack([output.float().sum() for output in run()]).sum()
        parameters = dict(network.named_parameters())
        gradients = torch.autograd.grad(total, list(parameters.values()), allow_unused=True)
    finally:
        for hook in hooks:
            hook.remove()
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(required_grad[name])
    return first_call, {name for name, gradient in zip(parameters, gradients, strict=True) if gradient is not None}


def is_within(name: str, block: str) -> bool:
    """Whether a module or parameter is this block or lies in it."""
    return name == block or name.startswith(f"{block}.")


def block_index(parameter: str, blocks: Sequence[str]) -> int:
    """Index of the block that holds a parameter; one in no block (a class token) counts as the first block's."""
    return next((i for i, block in enumerate(blocks) if is_within(parameter, block)), 0)
