"""A network's blocks in the order that data passes them: the unit of unfreezing."""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

BLOCKS_MIN = 4  # fewer than these say little about depth: the largest is then taken apart


def names(network: nn.Module, run: Callable[[], Iterable[Tensor]]) -> list[str]:
    """The modules that hold the parameters, first passed first, as in `network.named_modules()`.

    ResNet: conv1, bn1, layer1 … layer4; SqueezeNet: features.0, features.3 … features.12; BERT: embeddings,
    encoder.layer.0 … 11. `run` passes one batch and gives the outputs: what none of them hangs on (a pooler) is no
    block.
    """
    passed, used = trace(network, run)
    found = [part for name in children(network, "") for part in unwrap(network, name)]
    while len(found) < BLOCKS_MIN:
        splittable = [name for name in found if children(network, name)]
        if not splittable:
            break
        largest = max(splittable, key=lambda name: sum(p.numel() for p in network.get_submodule(name).parameters()))
        place = found.index(largest)
        found[place : place + 1] = [part for name in children(network, largest) for part in unwrap(network, name)]
    reached = [name for name in found if any(is_within(parameter, name) for parameter in used)]

    def when(block: str) -> int:  # word vectors that are read off a softmax are used without a call, and come first
        return min((at for part, at in passed.items() if is_within(part, block)), default=-1)

    return sorted(reached, key=when)


def unwrap(network: nn.Module, name: str) -> list[str]:
    """A module, or its parts where it only holds them together: a list, or one thing around another."""
    module, parts = network.get_submodule(name), children(network, name)
    own = any(True for _ in module.parameters(recurse=False))
    if parts and not own and (len(parts) == 1 or isinstance(module, nn.ModuleList | nn.ModuleDict)):
        return [inner for part in parts for inner in unwrap(network, part)]
    return [name]


def children(network: nn.Module, name: str) -> list[str]:
    """Names of a module's children that hold parameters."""
    parts = network.get_submodule(name).named_children()
    return [f"{name}.{part}".lstrip(".") for part, child in parts if any(True for _ in child.parameters())]


def trace(network: nn.Module, run: Callable[[], Iterable[Tensor]]) -> tuple[dict[str, int], set[str]]:
    """({module: when it was first called}, the parameters that the outputs hang on), of one `run`."""
    passed: dict[str, int] = {}

    def note(name: str) -> Callable[[nn.Module, object], None]:
        def hook(_module: nn.Module, _args: object) -> None:
            passed.setdefault(name, len(passed))

        return hook

    hooks = [module.register_forward_pre_hook(note(name)) for name, module in network.named_modules() if name]
    learning = {name: parameter.requires_grad for name, parameter in network.named_parameters()}
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
            parameter.requires_grad_(learning[name])
    return passed, {name for name, gradient in zip(parameters, gradients, strict=True) if gradient is not None}


def is_within(name: str, block: str) -> bool:
    """Whether a module or parameter is this block or lies in it."""
    return name == block or name.startswith(f"{block}.")


def block_index(parameter: str, blocks: Sequence[str]) -> int:
    """The number of the block that a parameter lies in; what lies in none (a class token) counts as the first's."""
    return next((i for i, block in enumerate(blocks) if is_within(parameter, block)), 0)
