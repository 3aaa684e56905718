"""torchvision's classification networks: names, published weights, and removal of the classifier."""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from icebox.features.compat import torchvision as library
from icebox.features.errors import IceboxError, suggestion

CLASSES = 1000  # ImageNet's; the layer with as many outputs is the classifier
AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")  # GoogLeNet's and Inception's second classifiers, for training only
WITHOUT_AUXILIARY = {"aux_logits": False, "init_weights": False, "transform_input": True}
RENAMED = (  # keys of DenseNet's and ViT's published files → today's names, as torchvision itself maps them
    (re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)"), r"\1\2"),
    (re.compile(r"\.mlp\.linear_1\."), ".mlp.0."),
    (re.compile(r"\.mlp\.linear_2\."), ".mlp.3."),
)


def published_weights(model: str) -> Mapping[str, Any]:
    """{name: member} of torchvision's weights for `model`; raises IceboxError for another network."""
    models = library().models
    names = models.list_models(module=models)
    if model not in names:
        raise IceboxError(f"model: torchvision has no classification network '{model}'; {suggestion(model, names)}")
    members: Mapping[str, Any] = models.get_model_weights(model).__members__
    return members


def preprocess_of(member: Any) -> dict[str, Any]:
    """The preprocessing that belongs to the weights, as JSON: sizes in pixels, `resize` that of the shorter side."""
    steps = member.transforms()
    return {
        "resize": list(steps.resize_size),
        "crop": list(steps.crop_size),
        "interpolation": steps.interpolation.value,
        "mean": list(steps.mean),
        "std": list(steps.std),
    }


class EmptyOnMeta(TorchFunctionMode):
    """Within it parameters take no memory. `torch.device("meta")` would also catch RegNet's width arithmetic."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Put the result of `torch.empty`, with which every layer makes its parameters, on the meta device."""
        return func(*args, **(kwargs or {}) | ({"device": "meta"} if func is torch.empty else {}))


def build_empty(model: str, preprocess: Mapping[str, Any]) -> nn.Module:
    """The network without parameter values, to be filled by `load_state_dict(…, assign=True)`."""
    with EmptyOnMeta():
        return build(model, preprocess)


def build_random(model: str, preprocess: Mapping[str, Any], seed: int) -> nn.Module:
    """The network with torchvision's random initialization; the caller's random generator is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(model, preprocess)


def build(model: str, preprocess: Mapping[str, Any]) -> nn.Module:
    """The network that torchvision builds for weights with this preprocessing."""
    options: dict[str, Any] = {}
    if model in ("googlenet", "inception_v3"):
        options = WITHOUT_AUXILIARY
    elif model.startswith("vit_"):
        options = {"image_size": preprocess["crop"][0]}  # the position embedding has one row a patch
    network: nn.Module = library().models.get_model(model, weights=None, **options)
    return network


def remove_classifier(network: nn.Module) -> str:
    """Replace the classifier by `nn.Identity`; later layers (SqueezeNet's ReLU and pool) stay. Returns its name.

    The classifier is the last linear or convolution layer with as many outputs as there are classes.
    """
    classifiers: list[str] = [
        name
        for name, layer in network.named_modules()
        if (isinstance(layer, nn.Linear) and layer.out_features == CLASSES)
        or (isinstance(layer, nn.Conv2d) and layer.out_channels == CLASSES)
    ]
    if not classifiers:
        raise IceboxError(f"{type(network).__name__}: no layer with {CLASSES} outputs to take off as the classifier")
    network.set_submodule(classifiers[-1], nn.Identity(), strict=True)
    return classifiers[-1]


def without_classifier(tensors: Mapping[str, Tensor], classifier: str) -> dict[str, Tensor]:
    """A checkpoint's tensors under today's names, without the classifier's: it may have any number of classes."""
    dropped = (f"{classifier}.", *AUXILIARY)
    return {rename_key(key): value for key, value in tensors.items() if not key.startswith(dropped)}


def rename_key(key: str) -> str:
    """`…denselayer1.norm.1.weight` → `…denselayer1.norm1.weight`."""
    for pattern, name in RENAMED:
        key = pattern.sub(name, key)
    return key
